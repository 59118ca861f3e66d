"""The Gaussian likelihood."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray, IntArray
from bayesnn.checks import describe, finite_array, normal_pair, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.posterior.heteroscedastic import LOG_2PI
from bayesnn.posterior.independent import checked_targets, diagonal_matrices, marginal_variances


@dataclass(frozen=True, eq=False)
class Gaussian:
    r"""Targets with independent Gaussian noise.

    .. math:: \log p(y_i \mid f_i) = \sum_o -\tfrac12 ((y_{io} - f_{io}) / \sigma_i)^2 - \log\sigma_i
              - \tfrac12 \log 2\pi

    Parameters
    ----------
    sigma_noise : float, array_like (n,) or "infer"
        Noise standard deviation, in the units of `y`: one for all rows, or one per row. ``"infer"`` makes its
        logarithm a coordinate of the posterior, ``log_sigma_noise``, after the weights.
    log_sigma_prior : tuple of two floats, optional
        Mean and standard deviation of a normal prior for ``log_sigma_noise``; flat without it.

    Raises
    ------
    ArgumentError
        If a standard deviation is not a finite number above 0, or there is a prior for noise that is not inferred.

    Examples
    --------
    >>> likelihood = Gaussian(sigma_noise=0.5)
    >>> likelihood.log_density(np.zeros((1, 1)), np.zeros((1, 1))).round(6)
    array([-0.225791])
    """

    sigma_noise: float | ArrayLike | str = 1.0
    log_sigma_prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.log_sigma_prior is not None:
            self._check_prior()
        if isinstance(self.sigma_noise, str):
            if self.sigma_noise != "infer":
                wants = "a number above 0, one per row, or 'infer'"
                raise ArgumentError("sigma_noise", describe(self.sigma_noise), wants)
            return
        if np.ndim(self.sigma_noise) == 0:
            object.__setattr__(self, "sigma_noise", positive_number("sigma_noise", self.sigma_noise))
            return
        sigma = finite_array("sigma_noise", self.sigma_noise, (1,), "a number above 0, or shape (n,)")
        if not np.all(sigma > 0):
            worst = int(np.argmin(sigma))
            raise ArgumentError("sigma_noise", f"{sigma[worst]:g} at row {worst}", "numbers above 0")
        object.__setattr__(self, "sigma_noise", sigma)

    def _check_prior(self) -> None:
        if not (isinstance(self.sigma_noise, str) and self.sigma_noise == "infer"):
            raise ArgumentError("log_sigma_prior", describe(self.log_sigma_prior), "None unless sigma_noise='infer'")
        pair = normal_pair("log_sigma_prior", self.log_sigma_prior, "log_sigma_noise")
        object.__setattr__(self, "log_sigma_prior", pair)

    @property
    def is_inferred(self) -> bool:
        """Whether the noise is a coordinate of the posterior."""
        return isinstance(self.sigma_noise, str)

    @property
    def is_least_squares(self) -> bool:
        """True."""
        return True

    @property
    def is_canonical(self) -> bool:
        """True."""
        return True

    @cached_property
    def _sigma(self) -> FloatArray:
        """Standard deviations shaped to broadcast against (..., n, out)."""
        if isinstance(self.sigma_noise, str):
            raise ArgumentError("sigma_noise", "'infer'", "a Posterior around it, or a number")
        return np.reshape(np.asarray(self.sigma_noise, dtype=np.float64), (-1, 1))

    @property
    def has_common_sigma(self) -> bool:
        """Whether all rows share one noise standard deviation."""
        return self._sigma.size == 1

    def check_targets(self, y: ArrayLike, n_rows: int, n_outputs: int) -> FloatArray:
        """Return `y` as (n, out).

        Raises
        ------
        ArgumentError
            If `y` does not fit the rows and outputs, is not finite, or ``sigma_noise`` has another length.
        """
        targets = checked_targets(y, n_rows, n_outputs)
        if self.is_inferred:
            return targets
        self.check_rows(n_rows)
        return targets

    def check_rows(self, n_rows: int) -> None:
        """Raise ArgumentError if there is one ``sigma_noise`` per row, and not for this many."""
        if not self.is_inferred and self._sigma.size not in (1, n_rows):
            raise ArgumentError("sigma_noise", f"shape ({self._sigma.size},)", f"a number or shape ({n_rows},)")

    def rows(self, rows: slice | IntArray) -> "Gaussian":
        """Return the likelihood of some rows only."""
        return self if self.has_common_sigma else Gaussian(self._sigma[rows, 0])

    def log_density(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Log density of each row (..., n) at outputs (..., n, out)."""
        scaled = (y - outputs) / self._sigma
        normaliser = np.log(self._sigma) + 0.5 * LOG_2PI
        return -(0.5 * scaled * scaled + normaliser).sum(axis=-1)

    def gradient(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return the derivative of the log density by the outputs, ``(y - f) / sigma**2``."""
        return (y - outputs) / self._sigma**2

    def fisher(self, outputs: FloatArray) -> FloatArray:
        """Fisher information of the outputs (..., n, out, out), ``1 / sigma**2`` on the diagonal."""
        return diagonal_matrices(np.broadcast_to(self._sigma**-2, outputs.shape))

    def observed_information(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Minus the second derivative of the log density by the outputs: Fisher's."""
        return self.fisher(outputs)

    @property
    def has_diagonal_fisher(self) -> bool:
        """True."""
        return True

    @property
    def uniform_fisher(self) -> float | None:
        """``1 / sigma**2`` if all rows share one noise standard deviation, else None."""
        return float(self._sigma[0, 0]) ** -2 if self.has_common_sigma else None

    def fisher_rows(self, outputs: FloatArray, jacobian: FloatArray) -> FloatArray:
        """Rows (..., n * out, k) of ``B / sigma``, in the place of `jacobian`: a copy costs as much as the rest."""
        np.divide(jacobian, self._sigma[..., None], out=jacobian)
        return jacobian.reshape(*jacobian.shape[:-3], -1, jacobian.shape[-1])

    def scaled_residual(self, outputs: FloatArray, y: FloatArray) -> FloatArray:
        """Return ``(y - f) / sigma`` (..., n, out)."""
        return (y - outputs) / self._sigma

    def simulate(self, outputs: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Draw targets around the outputs."""
        return outputs + self._sigma * rng.standard_normal(outputs.shape)

    def mean(self, outputs: FloatArray) -> FloatArray:
        """Return the outputs."""
        return outputs

    def variance(self, outputs: FloatArray) -> FloatArray:
        """Variance of the noise for each target (..., n, out)."""
        return np.broadcast_to(self._sigma**2, outputs.shape)

    def predictive_moments(self, mean: FloatArray, covariance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Exact mean and variance (n, out) under normal outputs."""
        return mean, marginal_variances(covariance) + self.noise_sd(len(mean)) ** 2

    def noise_sds(self, n_rows: int) -> FloatArray:
        """Noise standard deviation (n, 1) of each training row."""
        return np.broadcast_to(self._sigma, (n_rows, 1))

    def noise_sd(self, n_rows: int) -> FloatArray:
        """Noise standard deviation of new targets, (n, 1).

        Raises
        ------
        ArgumentError
            If each training row has its own, so that new rows have none.
        """
        if not self.has_common_sigma:
            raise ArgumentError("noise", "one sigma_noise per training row", "one sigma_noise for all rows")
        return np.broadcast_to(self._sigma, (n_rows, 1))
