"""Levenberg-Marquardt: the linearized iteration, damped so that it converges."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.optimum.climb import Climb
from bayesnn.optimum.descent import Descent
from bayesnn.posterior import Linearization, Posterior


def levenberg_marquardt(
    posterior: Posterior,
    start: FloatArray,
    max_steps: int = 1000,
    tolerance: float = 1e-6,
    on_step: Callable[[FloatArray], None] | None = None,
) -> Descent:
    r"""Climb to a mode by damped linearized steps.

    Each step solves :math:`(C + \lambda D)\,\delta = g`, `g` the gradient of the log density, `C` its curvature, and is
    kept if the log density rises by a fair part of what the quadratic model promised; `lambda` follows the gain ratio
    (Nielsen 1999). `D` is the geometric mean of the prior precision and the largest diagonal of the GGN met so far, and
    for weights without a prior that diagonal alone (Moré 1978): the prior keeps weights that the data do not inform
    from running away, and the choice of units does not matter.

    Far from the mode `C` is the GGN :math:`B'\Lambda B + P_0`; within one posterior standard deviation it is the exact
    Hessian, for there the GGN converges linearly, and slowly where residuals are large and the network bends, and
    does not see that a saddle is one. Where the Hessian is indefinite the damping is raised until the system is not.
    It is solved by Cholesky where conditioning allows and by QR of the stacked rows
    :math:`[\Lambda^{1/2}B; \sqrt{P_0}; \sqrt{\lambda D}]` where not (Nocedal & Wright 2006, section 10.3).

    Parameters
    ----------
    posterior : Posterior
        The target.
    start : ndarray (k,)
        Where to begin.
    max_steps : int
        Steps tried at most.
    tolerance : float
        Converged when the Newton decrement, the distance to the mode in posterior standard deviations, is
        below this.
    on_step : callable, optional
        Called with the weights (k,) after every step that was kept.

    Returns
    -------
    Descent
        `status` is ``converged``, ``max_steps``, ``stalled``, ``saddle``, ``nonfinite`` or ``rank_deficient``.
    """
    climb = Climb(posterior, start, max_steps, tolerance, on_step)
    while climb.end is None:
        climb.advance(_linearize(posterior, climb.trial))
    return climb.end


def climb_together(
    posterior: Posterior, starts: Sequence[FloatArray], max_steps: int = 1000, tolerance: float = 1e-6
) -> Iterator[tuple[int, Descent]]:
    """Climb from several starts, as many at once as it pays to linearize in one batch.

    Small networks gain, for which calls cost as much as arithmetic; those whose Jacobian alone fills the cache go one
    by one.

    Parameters
    ----------
    posterior : Posterior
        The target.
    starts : sequence of ndarray (k,)
        Where to begin.
    max_steps, tolerance
        As :func:`levenberg_marquardt` takes them.

    Yields
    ------
    int, Descent
        Which start, and where it ended, in the order of ending. On KeyboardInterrupt the runs under way end where they
        are, with status ``max_steps``, and the exception is raised again after the last of them.
    """
    waiting = deque(enumerate(starts))
    running: dict[int, Climb] = {}
    try:
        while waiting or running:
            while waiting and len(running) < posterior.linearized_together:
                i, start = waiting.popleft()
                running[i] = Climb(posterior, start, max_steps, tolerance)
            answers = _linearize(posterior, np.stack([climb.trial for climb in running.values()]))
            for position, (i, climb) in enumerate(list(running.items())):
                climb.advance(answers[position])
                if climb.end is not None:
                    del running[i]
                    yield i, climb.end
    except KeyboardInterrupt:
        yield from ((i, climb.stop()) for i, climb in running.items() if climb.has_begun)
        raise


@np.errstate(over="ignore", invalid="ignore")
def _linearize(posterior: Posterior, weights: FloatArray) -> Linearization:
    """Linearize where a trial may have overflowed: what is not finite is refused by its value, without a warning."""
    return posterior.linearize(weights)
