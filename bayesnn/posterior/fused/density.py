"""The log posterior and its gradient for many chains at once, compiled."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.posterior.fused.leapfrog import leapfrog, leapfrog_shared
from bayesnn.posterior.fused.network import (
    Problem,
    values_and_gradients,
    values_and_gradients_shared,
    values_of_all,
    values_of_all_shared,
)
from bayesnn.posterior.fused.problem import problem_of
from bayesnn.posterior.fused.sharing import share_out
from bayesnn.posterior.posterior import Posterior


class FusedDensity:
    """Log density of a :class:`Posterior` of an MLP, compiled: the same numbers several times sooner.

    Everything from the weights to the gradient is one function that keeps blocks of rows in the cache, and chains are
    shared out over the cores. The first call on a machine compiles, which takes some twenty seconds; later processes
    read what was compiled from the disk. Chains do not touch each other: the result for each is the same, to the bit,
    for any number of chains and of cores.

    Parameters
    ----------
    posterior : Posterior
        Of an :class:`bayesnn.MLP` and a likelihood of this package, with data in memory.

    Raises
    ------
    ArgumentError
        If the model is another, the likelihood is not of this package, or the data are not NumPy arrays.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> fused = FusedDensity(post)
    >>> weights = np.ones((4, post.n_weights))
    >>> value, gradient = fused(weights)
    >>> bool(np.allclose(gradient, post.value_and_gradient(weights)[1], rtol=1e-10))
    True
    """

    def __init__(self, posterior: Posterior) -> None:
        self.posterior = posterior
        self._problem: Problem = problem_of(posterior)

    def __repr__(self) -> str:
        return f"FusedDensity({self.posterior!r})"

    def __call__(self, weights: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density and gradient.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where.

        Returns
        -------
        value : ndarray, shape () or (chains,)
        gradient : ndarray, shape (k,) or (chains, k)
        """
        w = self.posterior.check_weights(weights)
        batch = _rows_of(w, self.posterior.n_weights)
        values, gradients = np.empty(len(batch)), np.empty_like(batch)

        def run(chains: slice) -> None:
            values_and_gradients(self._problem, batch[chains], values[chains], gradients[chains])

        def run_shared(parts: int) -> None:
            values_and_gradients_shared(self._problem, batch, values, gradients, parts)

        share_out(run, run_shared, len(batch), self._work(len(batch), 3))
        return values.reshape(w.shape[:-1]), gradients.reshape(w.shape)

    def log_density(self, weights: ArrayLike) -> FloatArray:
        """Log density.

        Parameters
        ----------
        weights : array_like (k,) or (chains, k)
            Where.

        Returns
        -------
        ndarray, shape () or (chains,)
        """
        w = self.posterior.check_weights(weights)
        batch = _rows_of(w, self.posterior.n_weights)
        values = np.empty(len(batch))

        def run(chains: slice) -> None:
            values_of_all(self._problem, batch[chains], values[chains])

        def run_shared(parts: int) -> None:
            values_of_all_shared(self._problem, batch, values, parts)

        share_out(run, run_shared, len(batch), self._work(len(batch), 1))
        return values.reshape(w.shape[:-1])

    def leapfrog(
        self,
        weights: FloatArray,
        momenta: FloatArray,
        gradients: FloatArray,
        scale: FloatArray,
        step_sizes: FloatArray,
        n_steps: int,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Integrate Hamilton's equations along a whole trajectory of every chain (:class:`bayesnn.moves.HMC`).

        Parameters
        ----------
        weights, momenta, gradients : ndarray (chains, k)
            Where the trajectories begin; momenta are standard normal.
        scale : ndarray (k, k) or (k,)
            `S` of the metric.
        step_sizes : ndarray (chains,)
            Of each chain.
        n_steps : int
            Steps of all chains.

        Returns
        -------
        weights, momenta : ndarray (chains, k)
            Where they end; without meaning where the log density is not finite.
        log_density : ndarray (chains,)
        gradients : ndarray (chains, k)
        """
        w, r, g = (np.array(start, dtype=np.float64, order="C") for start in (weights, momenta, gradients))
        matrix = np.ascontiguousarray(np.atleast_2d(scale))
        transposed = matrix if scale.ndim == 1 else np.ascontiguousarray(matrix.T)
        steps, values = np.ascontiguousarray(step_sizes, dtype=np.float64), np.empty(len(w))

        def run(chains: slice) -> None:
            ends = w[chains], r[chains], values[chains], g[chains]
            leapfrog(self._problem, matrix, transposed, steps[chains], n_steps, *ends)

        def run_shared(parts: int) -> None:
            leapfrog_shared(self._problem, matrix, transposed, steps, n_steps, w, r, values, g, parts)

        share_out(run, run_shared, len(w), self._work(len(w), 3 * n_steps))
        return w, r, values, g

    def _work(self, n_chains: int, passes: int) -> int:
        return passes * n_chains * self.posterior.n_rows * self.posterior.n_weights


def _rows_of(weights: FloatArray, n_weights: int) -> FloatArray:
    return np.ascontiguousarray(weights.reshape(-1, n_weights))
