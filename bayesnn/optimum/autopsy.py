"""The experiment the blog wanted: start the linearized iteration at an optimum, and elsewhere, and see what it does."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bayesnn.arrays import FloatArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models import MLP, FunctionModel
from bayesnn.optimum.find import find_optimum, uninterrupted
from bayesnn.optimum.linearized_iteration import LinearizedPath, iterate_linearized, map_jacobian
from bayesnn.optimum.status import Status
from bayesnn.posterior import FlatPrior, Gaussian, NormalPrior, Posterior
from bayesnn.progress import progress_bar
from bayesnn.seeds import generator

# A 2-2-1 network with biases, both units needed (theory A4): W1 by rows, b1, W2, b2.
TEACHER = np.array([1.2, -0.6, 0.5, 1.4, 0.3, -0.4, 1.0, -1.2, 0.2])
NOISE = 0.1
PRIOR_PRECISION = 1.0
RIDGE = 1e-2
# A run succeeds if it ends within a tenth of the optimum's rms residual.
SUCCESS = 1.1


@dataclass(frozen=True)
class Contender:
    """A way to iterate.

    Parameters
    ----------
    name : str
        For tables.
    rule : str
        Of :func:`bayesnn.iterate_linearized`.
    relaxation, ridge : float
        Likewise.
    has_prior : bool
        Whether the posterior has a normal prior.
    """

    name: str
    rule: str
    relaxation: float = 1.0
    ridge: float = 0.0
    has_prior: bool = False


CONTENDERS = (
    Contender("seed", "seed"),
    Contender("seed, half step", "seed", relaxation=0.5),
    Contender("seed, ridge", "seed", ridge=RIDGE),
    Contender("Gauss-Newton", "gauss-newton"),
    Contender("Gauss-Newton, prior", "gauss-newton", has_prior=True),
    Contender("Levenberg-Marquardt, prior", "levenberg-marquardt", has_prior=True),
)


@dataclass(frozen=True, eq=False)
class Cell:
    """One contender on one network and one n.

    Parameters
    ----------
    activation : str
        Of the hidden units.
    n : int
        Rows of data.
    contender : Contender
        Who.
    optimum_rms : float
        Rms residual at the least-squares optimum.
    from_optimum : LinearizedPath
        The run that starts there.
    map_eigenvalues_at_optimum : ndarray (k,)
        Of the contender's map, complex; empty for a rule with memory.
    tail_rms : float
        Rms residual over the last iterates of that run.
    n_success, n_starts : int
        Runs from random starts that ended at an optimum as good, and how many there were.
    """

    activation: str
    n: int
    contender: Contender
    optimum_rms: float
    from_optimum: LinearizedPath
    map_eigenvalues_at_optimum: NDArray[np.complex128]
    tail_rms: float
    n_success: int
    n_starts: int

    @property
    def stays(self) -> bool:
        """Whether the run that starts at the optimum ends as good as it began."""
        return self.tail_rms <= SUCCESS * self.optimum_rms


@dataclass(frozen=True, eq=False)
class Orbit:
    """The seed's rule on a product of `depth` scalar weights, started at its optimum.

    Parameters
    ----------
    depth : int
        Number of factors L.
    scales : ndarray (steps + 1,)
        First weight over its optimum at each step; theory: 1, 1/2, 1 for L = 2; 1, 1/3, 3, 1/27 for L = 3.
    status : Status
        How the run ended.
    cycle_period : int or None
        Of a cycle.
    """

    depth: int
    scales: FloatArray
    status: Status
    cycle_period: int | None


@dataclass(frozen=True, eq=False)
class Autopsy:
    """All that was found.

    Parameters
    ----------
    cells : tuple of Cell
        Networks, sizes and contenders.
    orbits : tuple of Orbit
        Polynomial networks.
    gauss_newton_rates : dict of int to float
        Spectral radius of the Gauss-Newton map at the optimum of the tanh network, by n.
    """

    cells: tuple[Cell, ...]
    orbits: tuple[Orbit, ...]
    gauss_newton_rates: dict[int, float]

    @property
    def rate_slope(self) -> float:
        """Slope of log spectral radius against log n; theory says -1/2."""
        sizes = np.array(list(self.gauss_newton_rates))
        rates = np.array(list(self.gauss_newton_rates.values()))
        return float(np.polyfit(np.log(sizes), np.log(rates), 1)[0])


def run_autopsy(
    sizes: Sequence[int] = (30, 300, 3000, 30000),
    n_starts: int = 20,
    n_steps: int = 300,
    seed: int = 0,
    progress: bool | None = None,
) -> Autopsy:
    """Run every contender from the optimum and from random starts, on tanh and ReLU networks.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of rows.
    n_starts : int
        Random starts in each cell.
    n_steps : int
        Iterations at most.
    seed : int
        Seed of data and starts.
    progress : bool, optional
        Whether to show a bar; by default where stderr is a terminal.

    Returns
    -------
    Autopsy

    Raises
    ------
    ArgumentError
        If a size is below 10, there are fewer than two, or a count is below 1.
    """
    sizes = [integer_at_least("sizes", n, 10) for n in sizes]
    if len(set(sizes)) < 2:
        raise ArgumentError("sizes", describe(sizes), "two different numbers of rows at least: rates are slopes")
    integer_at_least("n_starts", n_starts, 1)
    cells: list[Cell] = []
    rates: dict[int, float] = {}
    with progress_bar("autopsy", 2 * len(sizes) * len(CONTENDERS), progress) as tick:
        for activation in ("tanh", "relu"):
            for n in sizes:
                flat = teacher_posterior(activation, n, seed)
                optimum = uninterrupted(find_optimum(flat, start=TEACHER, progress=False)).weights
                for contender in CONTENDERS:
                    cell = _cell(flat, activation, contender, optimum, n_starts, n_steps, seed)
                    cells.append(cell)
                    if (activation, contender.name) == ("tanh", "Gauss-Newton"):
                        rates[n] = float(np.abs(cell.map_eigenvalues_at_optimum).max())
                    tick()
    return Autopsy(tuple(cells), tuple(scalar_orbit(depth) for depth in (2, 3)), rates)


def teacher_posterior(activation: str, n: int, seed: int) -> Posterior:
    """Posterior, without a prior, of a 2-2-1 network on `n` rows of a teacher of its own kind."""
    rng = generator(seed, "autopsy data", n)
    network = MLP(2, (2,), 1, activation=activation)
    x = rng.standard_normal((n, 2))
    y = network.predict(TEACHER, x) + NOISE * rng.standard_normal((n, 1))
    return Posterior(network, x, y, Gaussian(NOISE), FlatPrior())


def scalar_orbit(depth: int, n_steps: int = 8) -> Orbit:
    """Iterate the seed's rule on the smoothest network there is, a product of `depth` weights, from its optimum."""
    size = 1.3
    model = FunctionModel(
        lambda w, x: np.prod(w) * x,
        [f"w{i + 1}" for i in range(depth)],
        jacobian=lambda w, x: x[:, None] * np.prod(w) / w,
    )
    x = np.array([1.0, 2.0])
    posterior = Posterior(model, x, size**depth * x, Gaussian(NOISE), FlatPrior())
    path = iterate_linearized(posterior, np.full(depth, size), "seed", n_steps)
    return Orbit(depth, path.weights_path[:, 0] / size, path.status, path.cycle_period)


def _cell(
    flat: Posterior,
    activation: str,
    contender: Contender,
    optimum: FloatArray,
    n_starts: int,
    n_steps: int,
    seed: int,
) -> Cell:
    prior = NormalPrior(PRIOR_PRECISION) if contender.has_prior else FlatPrior()
    posterior = flat.with_hyperparameters(flat.likelihood, prior)

    def run(start: FloatArray) -> LinearizedPath:
        return iterate_linearized(
            posterior, start, contender.rule, n_steps, relaxation=contender.relaxation, ridge=contender.ridge
        )

    residuals = flat.y - flat.model.predict(optimum, flat.x)
    optimum_rms = float(np.sqrt((residuals**2).mean()))
    from_optimum = run(optimum)
    starts = [flat.model.initial_weights(generator(seed, "autopsy start", i)) for i in range(n_starts)]
    ends = [tail_rms(run(start)) for start in starts]
    return Cell(
        activation,
        flat.n_rows,
        contender,
        optimum_rms,
        from_optimum,
        _eigenvalues(from_optimum),
        tail_rms(from_optimum),
        n_success=sum(end <= SUCCESS * optimum_rms for end in ends),
        n_starts=n_starts,
    )


def _eigenvalues(path: LinearizedPath) -> NDArray[np.complex128]:
    """Eigenvalues of the map's derivative where the path began."""
    if path.iteration_map is None:
        return np.empty(0, dtype=np.complex128)
    return np.linalg.eigvals(map_jacobian(path.iteration_map, path.weights_path[0])).astype(np.complex128)


def tail_rms(path: LinearizedPath) -> float:
    """Rms residual a run ended with: over a cycle, over the last ten of a wandering run, at a point of rest."""
    if path.status in (Status.diverged, Status.nonfinite):
        return float("inf")
    length = path.cycle_period or (10 if path.status is Status.max_steps else 1)
    return float(np.sqrt(np.mean(path.rms[-length:] ** 2)))
