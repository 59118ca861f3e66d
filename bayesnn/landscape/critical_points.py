"""All kinds of critical points of a plain linear network, and the way out of its saddles."""

import itertools
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.optimize import minimize

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.checks import describe, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.landscape.conditions import TOLERANCE, Optimality, Point, optimality
from bayesnn.landscape.loss import LeastSquares, Loss, loss_of, point_of
from bayesnn.landscape.population import refuse_singular
from bayesnn.models import DeepLinear
from bayesnn.posterior import Posterior
from bayesnn.seeds import generator

# More kinds than this are not listed one by one.
MOST_POINTS = 4096
# Distances from a saddle at which a lower loss is looked for, relative to the weights or 1, the smallest first: the
# further out, the more the order of the saddle is hidden by what lies beyond it.
RADII = np.geomspace(1e-4, 1.0, 17)
# A descent begins so far beside one, and after it was left one of so many evaluations goes on.
BESIDE, DESCENT_EVALUATIONS = 0.1, 10_000
# A loss counts as lower if it is so by more than this, relative to the loss: a hundred times rounding.
LOWER = 100.0 * float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class CriticalPoint:
    """A critical point of a linear network, one of a connected family.

    Parameters
    ----------
    kept : tuple of int
        Which singular directions of the whitened map it fits, 0 that of the largest singular value.
    weights : ndarray (k,)
        One point of the family, its factors balanced.
    optimality : Optimality
        Gradient, curvature and verdict there. A family is no point, so that even a global minimum has curvature 0
        along it and is degenerate by its Hessian alone.
    is_global : bool
        Whether its loss is the least.
    """

    kept: tuple[int, ...]
    weights: FloatArray
    optimality: Optimality
    is_global: bool

    @property
    def value(self) -> float:
        """Loss."""
        return self.optimality.value

    @property
    def has_negative_curvature(self) -> bool:
        """Whether its Hessian shows that it is a saddle."""
        return self.optimality.verdict == Point.strict_saddle


@dataclass(frozen=True, eq=False)
class CriticalPoints:
    """The kinds of critical points of a plain linear network under a square loss.

    Parameters
    ----------
    points : tuple of CriticalPoint
        The lowest loss first.
    singular_values : ndarray (q,)
        Of the whitened map, decreasing: what is left out costs its square, times the loss's factor.
    """

    points: tuple[CriticalPoint, ...]
    singular_values: FloatArray

    @property
    def saddles(self) -> tuple[CriticalPoint, ...]:
        """Those that are not global minima: all of them are saddles (Kawaguchi 2016, theorem 2.3)."""
        return tuple(point for point in self.points if not point.is_global)


def critical_points(loss: LeastSquares) -> CriticalPoints:
    r"""List the critical points of a plain linear network by the singular directions they keep.

    With `X = QL'` of the inputs, the loss is that of :math:`L'M` against the whitened map
    :math:`K = L'(X'X)^{-1}X'Y = \sum_i s_i u_i v_i'`, and :math:`M = L'^{-1} \sum_{i \in I} s_i u_i v_i'` can be
    factored into a critical point for every set `I` no larger than the smallest width (Baldi & Hornik 1989; Kawaguchi
    2016). There are more critical points with the same end-to-end map: none of the kinds missing here has another loss.

    Parameters
    ----------
    loss : LeastSquares
        Of a plain :class:`bayesnn.DeepLinear`, with at least as many rows as inputs, which span them.

    Returns
    -------
    CriticalPoints

    Raises
    ------
    ArgumentError
        If the network is another or residual, some direction of the inputs never varies, or there are more than
        4096 kinds.

    Examples
    --------
    >>> net = DeepLinear((2, 2, 2))
    >>> found = critical_points(LeastSquares(net, np.eye(2), np.diag([3.0, 1.0])))
    >>> [(p.kept, round(p.value, 6), p.optimality.verdict.value) for p in found.saddles]
    [((0,), 0.5, 'strict saddle'), ((1,), 4.5, 'strict saddle'), ((), 5.0, 'strict saddle')]
    """
    if not isinstance(loss, LeastSquares):  # pyright: ignore[reportUnnecessaryIsInstance] -- public door
        raise ArgumentError(
            "loss", describe(loss), "a LeastSquares: a prior, or noise of single rows, moves the points"
        )
    model = loss.model
    if not isinstance(model, DeepLinear) or model.residual:
        raise ArgumentError("loss", f"a loss of {model!r}", "one of a plain DeepLinear")
    gram = loss.x.T @ loss.x
    refuse_singular("x", gram, "inputs that vary in every direction")
    lower = np.linalg.cholesky(gram)
    whitened = np.linalg.solve(lower, loss.x.T @ loss.y)
    left, singular, right = np.linalg.svd(whitened, full_matrices=False)
    most = min(*model.widths, len(singular))
    sizes = range(most + 1) if model.n_layers > 1 else [most]  # of one matrix the loss is convex
    n_kinds = sum(math.comb(len(singular), size) for size in sizes)
    if n_kinds > MOST_POINTS:
        raise ArgumentError("loss", f"{n_kinds} kinds of critical points", f"a network with at most {MOST_POINTS}")
    inputs_of = np.linalg.solve(lower.T, left)  # L'^{-1} u_i in columns
    kinds = itertools.chain.from_iterable(itertools.combinations(range(len(singular)), m) for m in sizes)
    points: list[tuple[tuple[int, ...], FloatArray, Optimality]] = []
    for kept in kinds:
        chosen = list(kept)
        weights = _factored(model, inputs_of[:, chosen], singular[chosen], right[chosen])
        points.append((kept, weights, optimality(loss, weights)))
    points.sort(key=lambda point: point[2].value)
    lowest, highest = points[0][2].value, points[-1][2].value
    tie = LOWER * max(abs(lowest), abs(highest))
    listed = (CriticalPoint(*point, is_global=point[2].value <= lowest + tie) for point in points)
    return CriticalPoints(tuple(listed), singular)


def _factored(model: DeepLinear, left: FloatArray, singular: FloatArray, right: FloatArray) -> FloatArray:
    """Weights whose product is ``left @ diag(singular) @ right``, with the singular values shared out evenly."""
    rank, share = len(singular), singular ** (1.0 / model.n_layers)
    layers = [np.zeros(block.shape) for block in model.weight_blocks]
    if model.n_layers == 1:
        layers[0][:] = (left * singular) @ right
        return model.flat(layers)
    layers[0][:, :rank] = left * share
    layers[-1][:rank] = share[:, None] * right
    for layer in layers[1:-1]:
        layer[np.arange(rank), np.arange(rank)] = share
    return model.flat(layers)


class Way(StrEnum):
    """What showed the way down from a critical point."""

    curvature = "negative curvature"
    straight = "a straight line, by a higher order"
    descent = "a descent from beside it"


@dataclass(frozen=True, eq=False)
class Escape:
    """A way down from a critical point.

    Parameters
    ----------
    direction : ndarray (k,)
        Unit vector from the critical point towards a lower point.
    radius : float
        At this distance.
    way : Way
        How it was found.
    start_value, value : float
        Loss at the critical point, and where a descent from the lower point ended.
    weights : ndarray (k,)
        There.
    n_evaluations : int
        Losses looked at before the lower point was found.
    """

    direction: FloatArray
    radius: float
    way: Way
    start_value: float
    value: float
    weights: FloatArray
    n_evaluations: int


def escape(loss: Loss | Posterior, weights: ArrayLike, budget: int = 2000, seed: int = 0) -> Escape | None:
    """Leave a critical point for a lower loss, by negative curvature or, where there is none, by a higher order.

    Of a saddle without negative curvature, such as the origin of a linear network of three layers or more, the loss
    can only fall along directions of no curvature at all: random ones of these are followed on a straight line, and if
    that rises, for a valley may bend, by a quasi-Newton descent from a point beside.

    Parameters
    ----------
    loss : Loss or Posterior
        Of a posterior, minus its log density.
    weights : array_like (k,)
        The critical point.
    budget : int
        Losses to look at.
    seed : int
        Of the directions.

    Returns
    -------
    Escape or None
        None if nothing lower was found: it may be a minimum.

    Raises
    ------
    ArgumentError
        If it is not a critical point.

    Examples
    --------
    >>> deep = LeastSquares(DeepLinear((1, 1, 1, 1)), [[1.0]], [1.0])
    >>> found = escape(deep, np.zeros(3))
    >>> found.way.value, found.start_value, found.value < 1e-8
    ('a straight line, by a higher order', 0.5, True)
    """
    loss, most = loss_of(loss), integer_at_least("budget", budget, 1)
    here = point_of(loss, weights)
    found = optimality(loss, here)
    if found.verdict == Point.not_critical:
        wants = "a critical point: descend from here instead"
        raise ArgumentError("weights", f"a point with a gradient of {found.gradient_norm:.3g}", wants)
    walk = _Walk(loss, here, found.value, most)
    if found.verdict == Point.strict_saddle:
        for direction in (found.direction, -found.direction):
            if walk.straight(direction):
                return walk.escape(Way.curvature)
    eigenvalues, directions = np.linalg.eigh(loss.hessian(here))
    flat: FloatArray = directions[:, np.abs(eigenvalues) <= TOLERANCE * np.abs(eigenvalues).max()]
    random = generator(seed, "escape")
    while flat.shape[1] and walk.left > 0:
        direction = _unit(flat @ random.standard_normal((flat.shape[1],)))
        if walk.straight(direction) or walk.straight(-direction):
            return walk.escape(Way.straight)
        if walk.left > 0 and walk.descent(direction):
            return walk.escape(Way.descent)
    return None


class _Walk:
    """Looks for a lower loss around a critical point, and counts the looks."""

    def __init__(self, loss: Loss, here: FloatArray, value: float, budget: int) -> None:
        self.loss, self.here, self.value, self.budget, self.left = loss, here, value, budget, budget
        self.scale = max(1.0, float(np.linalg.norm(here)))
        self.lower = here

    def straight(self, direction: FloatArray) -> bool:
        """Whether some distance along `direction` (k,) is lower: :attr:`lower` then is the lowest of these points."""
        points = [self.here + radius * direction for radius in RADII * self.scale]
        self.left -= len(points)
        return self._is_lower(min(points, key=lambda point: self.loss.value_and_gradient(point)[0]))

    def descent(self, direction: FloatArray) -> bool:
        """Whether a descent from beside the point ends lower."""
        end, n_evaluations = _downhill(self.loss, self.here + BESIDE * self.scale * direction, self.left)
        self.left -= n_evaluations
        return self._is_lower(end)

    def _is_lower(self, point: FloatArray) -> bool:
        if not self.loss.value_and_gradient(point)[0] < self.value - LOWER * abs(self.value):
            return False
        self.lower = point
        return True

    def escape(self, way: Way) -> Escape:
        """Go on from the lower point, as far down as a descent takes."""
        spent = self.budget - self.left
        end, _ = _downhill(self.loss, self.lower, DESCENT_EVALUATIONS)
        away = self.lower - self.here
        radius = float(np.linalg.norm(away))
        last = float(self.loss.value_and_gradient(end)[0])
        return Escape(away / radius, radius, way, self.value, last, end, spent)


def _unit(vector: FloatArray) -> FloatArray:
    return vector / float(np.linalg.norm(vector))


def _downhill(loss: Loss, start: FloatArray, most: int) -> tuple[FloatArray, int]:
    """Where L-BFGS ends (k,), and the evaluations it took."""
    result = minimize(
        loss.value_and_gradient,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxfun": most, "maxiter": most, "ftol": 4.0 * float(np.finfo(float).eps), "gtol": 1e-10},
    )
    return np.asarray(result.x, dtype=np.float64), int(result.nfev)
