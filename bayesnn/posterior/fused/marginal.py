"""The posterior of the hidden weights alone: what is left when the output layer is integrated out."""

import numpy as np

from bayesnn.arrays import ArrayLike, BoolArray, FloatArray, IntArray
from bayesnn.checks import positive_number
from bayesnn.errors import ArgumentError
from bayesnn.models import MLP
from bayesnn.posterior.fused.chains import GRADIENT, LEAPFROG, VALUE
from bayesnn.posterior.fused.collapsed import run_collapsed, run_collapsed_shared
from bayesnn.posterior.fused.network import Problem
from bayesnn.posterior.fused.output_layer import OutputLayer
from bayesnn.posterior.fused.problem import as_mlp, problem_of
from bayesnn.posterior.fused.sharing import Pace, share_out
from bayesnn.posterior.fused.unit_steps import run_unit_steps, run_unit_steps_shared
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.heteroscedastic import LOG_2PI, InferredGaussian
from bayesnn.posterior.posterior import Posterior
from bayesnn.posterior.unit_steps import UnitSteps

# What a task does not take.
_NONE, _NO_STEPS, _NO_MEANS, _NO_FACTORS = np.empty((1, 0)), np.empty(0), np.empty((0, 0, 0)), np.empty((0, 0, 0, 0))


class MarginalDensity:
    r"""Log density of the hidden weights of a network with Gaussian noise, its output layer integrated out.

    Given the hidden weights the output weights have a normal law, so that the integral over them is exact, and so is a
    draw of them (Lindley & Smith 1972, Bayes estimates for the linear model). The valleys in which hidden and
    output weights hold each other fast, a unit's slope and its output's size above all, are not in this density; chains
    in it, each draw completed by a draw of the output layer, sample the same posterior (van Dyk & Park 2008, Partially
    collapsed Gibbs samplers, JASA 103). Noise that is inferred stays a coordinate.

    Parameters
    ----------
    posterior : Posterior
        Of an :class:`bayesnn.MLP` with hidden units under Gaussian noise, known or ``"infer"``, and a normal prior of
        given precisions.
    inverse_temperature : float
        Power of the likelihood, above 0: what is integrated over the output layer is prior times likelihood to this
        power, constants and all.

    Attributes
    ----------
    kept, integrated : ndarray of int (m,), (outputs * q,)
        Which of the posterior's coordinates are which; the second one output after another, for each its weights from
        the last hidden units, then its bias.
    unit_places : ndarray of int (fan in + bias, units)
        Where the weights of each unit of the last hidden layer are among the kept coordinates, its bias last.

    Raises
    ------
    ArgumentError
        If the posterior is of another kind, or the prior of an output weight is flat.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 20)[:, None]
    >>> post = Posterior(MLP(1, (2,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> marginal = MarginalDensity(post)
    >>> value, gradient = marginal(np.ones((4, marginal.n_kept)))
    >>> value.shape, gradient.shape
    ((4,), (4, 4))
    >>> weights, log_density = marginal.draw(np.ones((4, 4)), np.random.RandomState(0))
    >>> bool(np.allclose(log_density, post.log_density(weights)))
    True
    """

    def __init__(self, posterior: Posterior, inverse_temperature: float = 1.0) -> None:
        self.inverse_temperature = positive_number("inverse_temperature", inverse_temperature)
        problem = problem_of(posterior, self.inverse_temperature)
        likelihood = posterior.likelihood
        if not isinstance(likelihood, Gaussian | InferredGaussian):
            got = f"a likelihood of type {type(likelihood).__name__}"
            raise ArgumentError("posterior", got, "Gaussian noise: other output layers have no integral in closed form")
        network = as_mlp(posterior.scaled_network)
        if not isinstance(network, MLP) or not network.hidden:
            got = "inferred prior precisions" if not isinstance(network, MLP) else "no hidden layer"
            raise ArgumentError("posterior", got, "an MLP with hidden units under given prior precisions")
        self.posterior = posterior
        self.integrated, shape = _output_layer(network)
        self.kept: IntArray = np.setdiff1d(np.arange(posterior.n_weights), self.integrated)
        precision, mean = np.asarray(posterior.prior_precision), np.asarray(posterior.prior_mean)
        out_precision = precision[self.integrated].reshape(shape)
        if np.any(out_precision <= 0.0):
            raise ArgumentError(
                "posterior", "a flat prior of output weights", "a proper one, or the law may have no sum"
            )
        self._problem: Problem = problem
        self.unit_places = _last_hidden_layer(network)
        self._is_odd = network.activation.is_odd
        self._pace, self._unit_pace = Pace(), Pace()
        self._top = OutputLayer(
            infers_noise=isinstance(likelihood, InferredGaussian),
            noise_precision=self.inverse_temperature * _common_precision(likelihood, posterior.n_rows),
            prior_precision=np.ascontiguousarray(precision[self.kept]),
            prior_mean=np.ascontiguousarray(mean[self.kept]),
            out_precision=np.ascontiguousarray(out_precision),
            out_mean=np.ascontiguousarray(mean[self.integrated].reshape(shape)),
            constant=float(problem.constant) + 0.5 * LOG_2PI * len(self.integrated),
            inverse_temperature=self.inverse_temperature,
        )

    def __repr__(self) -> str:
        return f"MarginalDensity({self.posterior!r})"

    @property
    def n_kept(self) -> int:
        """Number of coordinates, m."""
        return len(self.kept)

    @property
    def n_features(self) -> int:
        """Number of weights of each output, q."""
        return self._top.out_mean.shape[1]

    @property
    def unit_prior_precision(self) -> FloatArray:
        """Prior precision (fan in + bias, units) of each unit of the last hidden layer, its bias last."""
        return self._top.prior_precision[self.unit_places]

    @property
    def unit_prior_mean(self) -> FloatArray:
        """Prior mean (fan in + bias, units) of these."""
        return self._top.prior_mean[self.unit_places]

    @property
    def units_are_odd(self) -> bool:
        """Whether a unit may change its sign with its weights'."""
        return self._is_odd

    @property
    def units_are_alike(self) -> bool:
        """Whether permuting the units, and flipping their signs where they are odd, leaves the density as it is."""
        top, units = self._top, self.unit_places.shape[1]
        sides = (self.unit_prior_precision, top.out_precision[:, :units])
        means = (self.unit_prior_mean, top.out_mean[:, :units])
        alike = all(np.array_equal(part, np.broadcast_to(part[:, :1], part.shape)) for part in (*sides, *means))
        is_one_layer = len(self._problem.widths) == 3
        return is_one_layer and alike and not (self._is_odd and any(np.any(mean) for mean in means))

    def __call__(self, kept: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Log density and gradient.

        Parameters
        ----------
        kept : array_like (m,) or (chains, m)
            Where.

        Returns
        -------
        value : ndarray, shape () or (chains,)
            NaN where the output layer's precision has no factor.
        gradient : ndarray, shape (m,) or (chains, m)
        """
        w, batch = self._checked(kept)
        values, gradients = np.empty(len(batch)), np.empty_like(batch)
        self._run(GRADIENT, batch, values, gradients)
        return values.reshape(w.shape[:-1]), gradients.reshape(w.shape)

    def log_density(self, kept: ArrayLike) -> FloatArray:
        """Log density, shape () or (chains,), at coordinates (m,) or (chains, m)."""
        return self.conditional(kept)[0]

    def leapfrog(
        self,
        weights: FloatArray,
        momenta: FloatArray,
        gradients: FloatArray,
        scale: FloatArray,
        step_sizes: FloatArray,
        n_steps: int,
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Integrate Hamilton's equations; as :meth:`FusedDensity.leapfrog`, in coordinates (chains, m)."""
        w, r, g = (np.array(start, dtype=np.float64, order="C") for start in (weights, momenta, gradients))
        matrix = np.ascontiguousarray(np.atleast_2d(scale))
        transposed = matrix if scale.ndim == 1 else np.ascontiguousarray(matrix.T)
        steps, values = np.ascontiguousarray(step_sizes, dtype=np.float64), np.empty(len(w))

        self._run(LEAPFROG, w, values, g, r, matrix, transposed, steps, n_steps)
        return w, r, values, g

    def conditional(self, kept: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Law of the output weights given the other coordinates.

        Parameters
        ----------
        kept : array_like (m,) or (chains, m)
            The other coordinates.

        Returns
        -------
        log_density : ndarray, shape () or (chains,)
            Of `kept`.
        mean : ndarray (..., outputs, q)
            Of the output weights, which are normal.
        precision_factor : ndarray (..., outputs, q, q)
            Lower Cholesky factor of the precision of each output's weights; outputs are independent.
        """
        w, batch = self._checked(kept)
        shape = self._top.out_mean.shape
        values = np.empty(len(batch))
        means, factors = np.empty((len(batch), *shape)), np.empty((len(batch), *shape, shape[1]))

        self._run(VALUE, batch, values, _NONE, means=means, factors=factors)
        lead = w.shape[:-1]
        return values.reshape(lead), means.reshape(lead + shape), factors.reshape((*lead, *shape, shape[1]))

    def complete(self, kept: ArrayLike) -> FloatArray:
        """Weights (..., k) with the output layer at the mean it has given the other coordinates (..., m)."""
        return self._joined(kept, self.conditional(kept)[1])

    def draw(self, kept: ArrayLike, random: np.random.RandomState) -> tuple[FloatArray, FloatArray]:
        """Draw the output layer given the other coordinates.

        Parameters
        ----------
        kept : array_like (chains, m)
            The other coordinates.
        random : numpy.random.RandomState
            Source.

        Returns
        -------
        weights : ndarray (chains, k)
        log_density : ndarray (chains,)
            Of the posterior there.
        """
        values, means, factors = self.conditional(kept)
        standard = random.standard_normal(means.shape)
        deviations = np.linalg.solve(factors.swapaxes(-1, -2), standard[..., None])[..., 0]
        log_volume = np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(axis=(-1, -2))
        log_conditional = log_volume - 0.5 * ((standard**2).sum(axis=(-1, -2)) + LOG_2PI * len(self.integrated))
        return self._joined(kept, means + deviations), values + log_conditional

    def step_units(
        self, kept: FloatArray, log_density: FloatArray, steps: UnitSteps
    ) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Try Metropolis steps of single units of the last hidden layer, one after the other.

        Parameters
        ----------
        kept : ndarray (chains, m)
            Where the chains are.
        log_density : ndarray (chains,)
            There.
        steps : UnitSteps
            What to try.

        Returns
        -------
        kept : ndarray (chains, m)
            Where they are then.
        log_density : ndarray (chains,)
        accepted : ndarray of bool (chains, steps)
        """
        w, values = np.array(kept, dtype=np.float64, order="C"), np.array(log_density, dtype=np.float64)
        accepted = np.zeros(steps.units.shape, dtype=np.bool_)
        problem, top = self._problem, self._top

        def run(chains: slice) -> None:
            own = UnitSteps(steps.units[chains], steps.is_fresh[chains], steps.moves[chains], steps.thresholds[chains])
            run_unit_steps(problem, top, w[chains], values[chains], own, accepted[chains])

        def run_shared(parts: int) -> None:
            run_unit_steps_shared(parts, problem, top, w, values, steps, accepted)

        q = self.n_features
        work = accepted.size * (self.posterior.n_rows * (steps.moves.shape[2] + q) + q**3 // 3)
        share_out(run, run_shared, len(w), work, self._unit_pace)
        return w, values, accepted

    def precision_of(self, precision: FloatArray) -> FloatArray:
        """Precision (m, m) of the kept coordinates under a Gaussian of precision (k, k): the Schur complement."""
        inner = precision[np.ix_(self.integrated, self.integrated)]
        across = precision[np.ix_(self.integrated, self.kept)]
        schur = precision[np.ix_(self.kept, self.kept)] - across.T @ np.linalg.solve(inner, across)
        return 0.5 * (schur + schur.T)

    def _joined(self, kept: ArrayLike, output_weights: FloatArray) -> FloatArray:
        w = np.asarray(kept, dtype=np.float64)
        weights = np.empty((*w.shape[:-1], self.posterior.n_weights))
        weights[..., self.kept] = w
        weights[..., self.integrated] = output_weights.reshape(*w.shape[:-1], -1)
        return weights

    def _checked(self, kept: ArrayLike) -> tuple[FloatArray, FloatArray]:
        w = np.asarray(kept, dtype=np.float64)
        if w.shape[-1:] != (self.n_kept,):
            raise ArgumentError("kept", f"shape {w.shape}", f"shape (..., {self.n_kept})")
        return w, np.require(w.reshape(-1, self.n_kept), requirements=["C", "W"])

    def _run(
        self,
        task: int,
        kept: FloatArray,
        values: FloatArray,
        gradients: FloatArray,
        momenta: FloatArray = _NONE,
        scale: FloatArray = _NONE,
        transposed: FloatArray = _NONE,
        steps: FloatArray = _NO_STEPS,
        n_steps: int = 1,
        means: FloatArray = _NO_MEANS,
        factors: FloatArray = _NO_FACTORS,
    ) -> None:
        problem, top = self._problem, self._top

        def run(chains: slice) -> None:
            ends = values[chains], gradients if task == VALUE else gradients[chains], momenta[chains]
            laws = means[chains], factors[chains]
            run_collapsed(task, problem, top, kept[chains], *ends, scale, transposed, steps[chains], n_steps, *laws)

        def run_shared(parts: int) -> None:
            ends, laws = (values, gradients, momenta), (means, factors)
            run_collapsed_shared(parts, task, problem, top, kept, *ends, scale, transposed, steps, n_steps, *laws)

        q = self.n_features
        passes = 1 if task == VALUE else 3 * n_steps
        work = passes * len(kept) * self.posterior.n_rows * (self.posterior.n_weights + q * q)
        share_out(run, run_shared, len(kept), work, self._pace)


def _common_precision(likelihood: Gaussian | InferredGaussian, n_rows: int) -> float:
    """Return the noise's precision, or 0 if it is inferred or varies from row to row."""
    if isinstance(likelihood, InferredGaussian):
        return 0.0
    sds = likelihood.noise_sds(n_rows)
    return float(sds.flat[0]) ** -2.0 if np.all(sds == sds.flat[0]) else 0.0


def _last_hidden_layer(network: MLP) -> IntArray:
    """Return the places of the last hidden layer's weights and biases (fan in + bias, units)."""
    fan_in, units, fan_out = network.widths[-3:]
    rows, out = fan_in + network.bias, (units + network.bias) * fan_out
    last = network.n_weights - out
    return np.arange(last - rows * units, last).reshape(rows, units)


def _output_layer(network: MLP) -> tuple[IntArray, tuple[int, int]]:
    """Return the places of the output layer's weights, output by output, and their shape (outputs, q)."""
    fan_in, fan_out = network.widths[-2:]
    first = network.n_weights - fan_in * fan_out - (fan_out if network.bias else 0)
    # W is (in, out), raveled; the biases follow
    places = np.arange(first, network.n_weights).reshape(-1, fan_out).T
    return np.ascontiguousarray(places).ravel(), places.shape
