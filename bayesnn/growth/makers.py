"""Where the data of a growth study come from: nested subsamples of real data, or draws from a teacher."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.errors import ArgumentError
from bayesnn.models import MLP
from bayesnn.posterior import Gaussian, Posterior
from bayesnn.posterior.prior import Prior
from bayesnn.seeds import generator


@dataclass(frozen=True, eq=False)
class Subsamples:
    """Posteriors of nested subsamples: the rows of a size are the first ones of the replicate's order.

    Parameters
    ----------
    posterior : Posterior
        Of all rows; model, likelihood and prior stay.

    Examples
    --------
    >>> from bayesnn import NormalPrior
    >>> x = np.arange(5.0)[:, None]
    >>> make = Subsamples(Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0)))
    >>> bool(np.all(make(2, 7).x == make(4, 7).x[:2])), make(2, 7).n_rows
    (True, 2)
    """

    posterior: Posterior

    def __call__(self, n: int, seed: int) -> Posterior:
        """Return the posterior of `n` rows in the order that `seed` makes.

        Raises
        ------
        ArgumentError
            If there are fewer rows.
        """
        if n > self.posterior.n_rows:
            raise ArgumentError("sizes", str(n), f"at most the {self.posterior.n_rows} rows there are")
        whole = self.posterior
        rows = generator(seed, "subsample").permutation(whole.n_rows)[:n]
        likelihood = whole.given_likelihood
        if isinstance(likelihood, Gaussian) and not likelihood.is_inferred:
            likelihood = likelihood.rows(rows)  # each row's noise goes with it
        return Posterior(whole.network, _rows_of(whole.x, rows), _rows_of(whole.y, rows), likelihood, whole.prior)


def _rows_of(array: Any, rows: IntArray) -> Any:
    """Return rows in any order; h5py wants them increasing."""
    order = np.argsort(rows)
    return array[rows[order]][np.argsort(order)]


@dataclass(frozen=True, eq=False)
class Twin:
    """A synthetic twin of real data: the same inputs in the same orders, targets that the model itself makes.

    What becomes of its posterior but not of the real one is the model's misfit.

    Parameters
    ----------
    posterior : Posterior
        Of all rows.
    weights : ndarray (k,)
        Those that are true of the twin, usually the optimum, with what is inferred beside them.

    Examples
    --------
    >>> from bayesnn import NormalPrior
    >>> x = np.arange(5.0)[:, None]
    >>> real = Posterior(MLP(1, (), 1), x, 2 * x, Gaussian(0.5), NormalPrior(1.0))
    >>> twin = Twin(real, np.array([2.0, 0.0]))
    >>> bool(np.all(twin(3, 7).x == Subsamples(real)(3, 7).x)), bool(np.allclose(twin(3, 7).y, twin(5, 7).y[:3]))
    (True, True)
    """

    posterior: Posterior
    weights: FloatArray

    def __call__(self, n: int, seed: int) -> Posterior:
        """Return the posterior of `n` rows in the order that `seed` makes.

        Raises
        ------
        ArgumentError
            If there are fewer rows.
        """
        part = Subsamples(self.posterior)(n, seed)
        outputs = part.model.predict(part.check_weights(self.weights, batch=False), part.x)
        noise, each = generator(seed, "twin noise"), [slice(i, i + 1) for i in range(n)]
        # Row by row: larger samples begin with the same rows.
        y = np.concatenate([part.likelihood.rows(row).simulate(outputs[row], noise) for row in each])
        return part.with_data(part.x, y)


@dataclass(frozen=True, eq=False)
class Teacher:
    """Posteriors of data that a network makes: normal inputs, its outputs, Gaussian noise.

    Parameters
    ----------
    network : MLP
        The teacher.
    weights : ndarray (k,)
        Its weights.
    sigma_noise : float
        Standard deviation of the noise, known to the student.
    prior : Prior
        Of the student's weights.
    student : MLP, optional
        The network that is fitted; the teacher's own by default.
    """

    network: MLP
    weights: FloatArray
    sigma_noise: float
    prior: Prior
    student: MLP | None = None

    def __call__(self, n: int, seed: int) -> Posterior:
        """Return the posterior of `n` rows; larger ones begin with the same rows."""
        x = generator(seed, "teacher inputs").standard_normal((n, self.network.in_features))
        noise = generator(seed, "teacher noise").standard_normal((n, self.network.n_outputs))
        y = self.network.predict(np.asarray(self.weights, dtype=np.float64), x) + self.sigma_noise * noise
        return Posterior(self.student or self.network, x, y, Gaussian(self.sigma_noise), self.prior)
