"""Starts of chains from training that is stopped early."""

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.checks import describe, integer_at_least, positive_number
from bayesnn.errors import ArgumentError
from bayesnn.posterior import LogDensity, Posterior
from bayesnn.sampling.density import density_of
from bayesnn.seeds import generator
from bayesnn.threads import on_one_blas_thread

# Adam's decay rates and guard, as in the paper.
MEAN_DECAY, SQUARE_DECAY, GUARD = 0.9, 0.999, 1e-8


@on_one_blas_thread
def early_stopped(
    posterior: Posterior,
    num_chains: int,
    *,
    seed: int = 0,
    validation_fraction: float = 0.15,
    learning_rate: float = 1e-3,
    patience: int = 20,
    max_steps: int = 2000,
) -> FloatArray:
    """Train networks until rows they do not see say stop: broad places from which chains find their own way down.

    Each network climbs the posterior of the other rows from weights the model draws, and is kept as it was where the
    held-out log likelihood was highest. An optimum is a narrow place that few draws of the posterior are near; chains
    from there stay near it.

    Parameters
    ----------
    posterior : Posterior
        What will be sampled.
    num_chains : int
        Number of networks, one for each chain.
    seed : int
        Seed of the first weights and of the rows held out.
    validation_fraction : float
        Share of the rows that decide when to stop, the same for all networks.
    learning_rate : float
        Of Adam, whose steps take all other rows at once.
    patience : int
        Steps without a higher held-out log likelihood after which a network stops.
    max_steps : int
        Steps at most.

    Returns
    -------
    ndarray (num_chains, k)
        For ``sample(..., start=...)``.

    Raises
    ------
    ArgumentError
        If an argument is out of range, the posterior is no sum over rows in memory, the noise is given row by row, or
        a log density is not finite from the first step.

    References
    ----------
    Prechelt (1998), Early stopping - but when?, Neural Networks: Tricks of the Trade; Kingma & Ba (2015), Adam,
    algorithm 1; chains that start there: Sommer et al. (2025), arXiv:2502.06335, MILE.

    Examples
    --------
    >>> from bayesnn import MLP, Gaussian, NormalPrior
    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> post = Posterior(MLP(1, (4,), 1), x, np.sin(3 * x), Gaussian(0.1), NormalPrior(1.0))
    >>> early_stopped(post, 3, learning_rate=0.01).shape
    (3, 13)
    """
    integer_at_least("num_chains", num_chains, 1)
    integer_at_least("patience", patience, 1)
    integer_at_least("max_steps", max_steps, 1)
    positive_number("learning_rate", learning_rate)
    fraction = positive_number("validation_fraction", validation_fraction)
    if fraction >= 1.0:
        raise ArgumentError("validation_fraction", describe(validation_fraction), "a number between 0 and 1")
    training, held_out = _parts(posterior, fraction, seed)
    climbed = density_of(training).value_and_gradient
    weights = np.stack([posterior.model.initial_weights(generator(seed, "early", i)) for i in range(num_chains)])
    best, highest = weights.copy(), np.full(num_chains, -np.inf)
    waited, mean, square = np.zeros(num_chains, dtype=int), np.zeros_like(weights), np.zeros_like(weights)
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, max_steps + 1):
            gradient = climbed(weights)[1] / training.n_rows
            mean = MEAN_DECAY * mean + (1.0 - MEAN_DECAY) * gradient
            square = SQUARE_DECAY * square + (1.0 - SQUARE_DECAY) * gradient**2
            upward = mean / (1.0 - MEAN_DECAY**step)
            upward /= np.sqrt(square / (1.0 - SQUARE_DECAY**step)) + GUARD
            weights = weights + learning_rate * upward
            seen = held_out.log_likelihood(weights).sum(axis=1)
            better = (seen > highest) & (waited < patience)
            highest, best = np.where(better, seen, highest), np.where(better[:, None], weights, best)
            waited = np.where(better, 0, waited + 1)
            if np.all(waited >= patience):
                break
    lost = np.flatnonzero(~np.isfinite(highest))
    if len(lost):
        got = f"{learning_rate:g}, at which {len(lost)} of {num_chains} networks have no finite log density"
        raise ArgumentError("learning_rate", got, "a smaller one, or standardised data")
    return best


def _parts(posterior: Posterior, fraction: float, seed: int) -> tuple[Posterior, Posterior]:
    """Return the posteriors of the rows to train on and of those held out."""
    if not isinstance(posterior, Posterior) or isinstance(posterior, LogDensity):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError(
            "posterior", describe(posterior), "a Posterior: a sum over rows, some of which are held out"
        )
    if not posterior.is_in_memory:
        raise ArgumentError("posterior", "one whose data are outside memory", "data in memory, to be divided by rows")
    n_held_out = round(fraction * posterior.n_rows)
    if not 1 <= n_held_out < posterior.n_rows:
        wants = f"a share that leaves rows on both sides of {posterior.n_rows}"
        raise ArgumentError("validation_fraction", f"{fraction:g}", wants)
    order = generator(seed, "early stopping rows").permutation(posterior.n_rows)
    training, held_out = np.sort(order[n_held_out:]), np.sort(order[:n_held_out])
    x, y = np.asarray(posterior.x), np.asarray(posterior.y)
    return posterior.with_data(x[training], y[training]), posterior.with_data(x[held_out], y[held_out])
