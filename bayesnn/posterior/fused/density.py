"""The log posterior and its gradient for many chains at once, compiled."""

import numpy as np

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import positive_number
from bayesnn.posterior.fused.chains import GRADIENT, LEAPFROG, VALUE, run_chains, run_chains_shared
from bayesnn.posterior.fused.network import Problem
from bayesnn.posterior.fused.problem import problem_of
from bayesnn.posterior.fused.sharing import Pace, share_out
from bayesnn.posterior.posterior import Posterior

# What a task does not take.
_NONE, _NO_STEPS = np.empty((1, 0)), np.empty(0)


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
    inverse_temperature : float
        Power of the likelihood, above 0: the density is prior times likelihood to this power, constants and all.

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

    def __init__(self, posterior: Posterior, inverse_temperature: float = 1.0) -> None:
        self.posterior = posterior
        self.inverse_temperature = positive_number("inverse_temperature", inverse_temperature)
        self._problem: Problem = problem_of(posterior, self.inverse_temperature)
        self._pace = Pace()
        self._work_of_pass = posterior.n_rows * posterior.n_weights

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
        self._run(GRADIENT, batch, values, gradients)
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
        self._run(VALUE, batch, values, _NONE)
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
        self._run(LEAPFROG, w, values, g, r, matrix, transposed, steps, n_steps)
        return w, r, values, g

    def _run(
        self,
        task: int,
        weights: FloatArray,
        values: FloatArray,
        gradients: FloatArray,
        momenta: FloatArray = _NONE,
        scale: FloatArray = _NONE,
        transposed: FloatArray = _NONE,
        steps: FloatArray = _NO_STEPS,
        n_steps: int = 1,
    ) -> None:
        def run(chains: slice) -> None:
            own = gradients if task == VALUE else gradients[chains]
            run_chains(
                task,
                self._problem,
                weights[chains],
                values[chains],
                own,
                momenta[chains],
                scale,
                transposed,
                steps[chains],
                n_steps,
            )

        def run_shared(parts: int) -> None:
            run_chains_shared(
                parts, task, self._problem, weights, values, gradients, momenta, scale, transposed, steps, n_steps
            )

        passes = 1 if task == VALUE else 3 * n_steps
        share_out(run, run_shared, len(weights), passes * len(weights) * self._work_of_pass, self._pace)


def _rows_of(weights: FloatArray, n_weights: int) -> FloatArray:
    # Compiled code is typed by what may be written, too: arrays that may not, such as a Laplace's mean, are copied.
    return np.require(weights.reshape(-1, n_weights), requirements=["C", "W"])
