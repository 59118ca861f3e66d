"""Where the data of a growth study come from: nested subsamples of real data, or draws from a teacher."""

from dataclasses import dataclass

import numpy as np

from bayesnn.arrays import FloatArray
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
        rows = generator(seed, "subsample").permutation(self.posterior.n_rows)[:n]
        return self.posterior.with_data(self.posterior.x[rows], self.posterior.y[rows])


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
