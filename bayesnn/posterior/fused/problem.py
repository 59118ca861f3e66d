"""From a posterior to the arrays and codes the kernel reads."""

import numpy as np
from scipy.special import gammaln

from bayesnn.arrays import FloatArray, IntArray
from bayesnn.errors import ArgumentError
from bayesnn.models import MLP, DeepLinear, Model, StandardWeights
from bayesnn.posterior.bernoulli import Bernoulli
from bayesnn.posterior.categorical import Categorical
from bayesnn.posterior.fused import likelihoods as lik
from bayesnn.posterior.fused.activations import CODES
from bayesnn.posterior.fused.network import Problem
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.heteroscedastic import LOG_2PI, HeteroscedasticGaussian, InferredGaussian
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.posterior.poisson import Poisson
from bayesnn.posterior.posterior import Posterior
from bayesnn.posterior.student_t import StudentT

# Rows of a block, so that its hidden units stay near the L1 cache, and whole tiles (`packs.WIDE`) where there are many.
UNITS_TIMES_ROWS = 2**12
LEAST_ROWS, MOST_ROWS, TILE = 64, 256, 32
# Blocks are filled up to whole packs.
PACK = 8

LIKELIHOODS: dict[type, int] = {
    Gaussian: lik.GAUSSIAN,
    InferredGaussian: lik.INFERRED,
    HeteroscedasticGaussian: lik.HETEROSCEDASTIC,
    StudentT: lik.STUDENT_T,
    Bernoulli: lik.BERNOULLI,
    Categorical: lik.CATEGORICAL,
    Poisson: lik.POISSON,
}


def problem_of(posterior: Posterior, inverse_temperature: float = 1.0) -> Problem:
    """Lay out a posterior for the kernel, its likelihood to a power.

    Raises
    ------
    ArgumentError
        If it is not one the kernel knows.
    """
    inner = posterior.scaled_network
    model, group_of, centre = inner, np.empty(0, dtype=np.int64), np.empty(0)
    if isinstance(inner, StandardWeights):
        model, group_of, centre = inner.model, inner.group_of, inner.centre
    model = as_mlp(model)
    # Subclasses may compute anything: exact types only.
    if not (isinstance(model, MLP) and type(model) is MLP):
        got = f"a model of type {type(model).__name__}"
        raise ArgumentError("posterior", got, "an MLP; others work without fusing")
    if type(posterior.likelihood) not in LIKELIHOODS:
        got = f"a likelihood of type {type(posterior.likelihood).__name__}"
        raise ArgumentError("posterior", got, "a likelihood of bayesnn; others work without fusing")
    if not (type(posterior.x) is np.ndarray and type(posterior.y) is np.ndarray):
        raise ArgumentError("posterior", f"x of type {type(posterior.x).__name__}", "NumPy arrays in memory")
    x, y, likelihood = posterior.x, posterior.y, posterior.likelihood
    rows = rows_of_block(len(x), sum(model.hidden))
    inverse_sd: FloatArray = np.ones((len(x), 1))
    if isinstance(likelihood, Gaussian):
        inverse_sd = inverse_sd / likelihood.noise_sds(len(x))
    widths: IntArray = np.array(model.widths, dtype=np.int64)
    return Problem(
        x=np.ravel(in_blocks(np.column_stack([x, np.ones(len(x))]), rows)),
        y=in_blocks(y, rows),
        inverse_sd=np.ascontiguousarray(in_blocks(inverse_sd, rows)[:, 0]),
        n_rows=len(x),
        widths=widths,
        bias=model.bias,
        activation=CODES[model.activation.name],
        likelihood=LIKELIHOODS[type(likelihood)],
        parameters=parameters_of(likelihood),
        constant=posterior.log_prior_normaliser + inverse_temperature * constant_of(likelihood, y),
        prior_precision=np.array(posterior.prior_precision),
        prior_mean=np.array(posterior.prior_mean),
        group_of=np.ascontiguousarray(group_of, dtype=np.int64),
        centre=np.ascontiguousarray(centre),
        inverse_temperature=float(inverse_temperature),
    )


def as_mlp(model: Model) -> Model:
    """Return the MLP that computes the same function of the same weights, where there is one; else the model."""
    return model.mlp if type(model) is DeepLinear and not model.residual else model


def rows_of_block(n_rows: int, n_units: int) -> int:
    """Return how many rows a block holds: all blocks about equally many, and whole packs."""
    most = min(max(UNITS_TIMES_ROWS // max(n_units, 1), LEAST_ROWS), MOST_ROWS) // TILE * TILE
    n_blocks = -(-n_rows // most)
    return -(-n_rows // (n_blocks * PACK)) * PACK


def in_blocks(array: FloatArray, rows: int) -> FloatArray:
    """Cut rows (n, m) into feature-major blocks (blocks, m, rows), the last filled up with copies of its last row."""
    n_blocks = -(-len(array) // rows)
    padded = array[np.minimum(np.arange(n_blocks * rows), len(array) - 1)]
    return np.ascontiguousarray(padded.reshape(n_blocks, rows, -1).transpose(0, 2, 1))


def parameters_of(likelihood: Likelihood) -> FloatArray:
    """Return the numbers a likelihood carries."""
    if isinstance(likelihood, StudentT):
        return np.array([likelihood.df, likelihood.scale])
    return np.zeros(2)


def constant_of(likelihood: Likelihood, y: FloatArray) -> float:
    """Return the part of the log likelihood that no output changes."""
    if isinstance(likelihood, Gaussian):
        return -0.5 * LOG_2PI * y.size - y.shape[1] * float(np.log(likelihood.noise_sds(len(y))).sum())
    if isinstance(likelihood, InferredGaussian | HeteroscedasticGaussian):
        return -0.5 * LOG_2PI * y.size
    if isinstance(likelihood, StudentT):
        df = likelihood.df
        normaliser = gammaln(0.5 * (df + 1.0)) - gammaln(0.5 * df) - 0.5 * np.log(np.pi * df)
        return y.size * float(normaliser - np.log(likelihood.scale))
    if isinstance(likelihood, Poisson):
        return -float(gammaln(y + 1.0).sum())
    return 0.0
