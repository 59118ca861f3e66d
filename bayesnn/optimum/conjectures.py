"""Three guesses at why the seed iteration cycled, from the post that found it, put to the numbers of an autopsy."""

from dataclasses import dataclass

from bayesnn.optimum.autopsy import Autopsy, Cell
from bayesnn.optimum.status import Status


@dataclass(frozen=True)
class Conjecture:
    """A guess and what became of it.

    Parameters
    ----------
    claim : str
        The guess, in the blog's words or near them.
    holds : bool
        Whether the numbers agree with it.
    evidence : str
        The numbers.
    """

    claim: str
    holds: bool
    evidence: str

    @property
    def verdict(self) -> str:
        """``"supported"`` or ``"refuted"``."""
        return "supported" if self.holds else "refuted"


def judge_conjectures(autopsy: Autopsy) -> tuple[Conjecture, ...]:
    """Compute the verdicts; nothing here is asserted that the autopsy did not measure.

    Parameters
    ----------
    autopsy : Autopsy
        From :func:`bayesnn.optimum.run_autopsy`.

    Returns
    -------
    tuple of Conjecture
        On smoothness, on the amount of data, on the start, and on the term the rule drops.
    """
    return _smoothness(autopsy), _data(autopsy), _start(autopsy), _dropped_term(autopsy)


def _of(autopsy: Autopsy, name: str, activation: str | None = None) -> list[Cell]:
    return [cell for cell in autopsy.cells if cell.contender.name == name and activation in (None, cell.activation)]


def _smoothness(autopsy: Autopsy) -> Conjecture:
    """Were it the lack of smoothness, polynomial and tanh networks would do."""
    polynomials_rest = all(orbit.cycle_period is None and orbit.status is Status.converged for orbit in autopsy.orbits)
    tanh, relu = (sum(c.n_success for c in _of(autopsy, "seed", kind)) for kind in ("tanh", "relu"))
    starts = sum(c.n_starts for c in _of(autopsy, "seed", "tanh"))
    two, three = autopsy.orbits
    scales = ", ".join(f"{scale:.3g}" for scale in three.scales[:5])
    return Conjecture(
        "the gradients are not smooth enough",
        holds=polynomials_rest or (tanh > relu and tanh > starts / 2),
        evidence=(
            f"from its optimum w1*w2, a polynomial, ends in {two.status} of period {two.cycle_period}, and w1*w2*w3 "
            f"goes to {scales} times its optimum; tanh networks succeed from {tanh} of {starts} starts, "
            f"ReLU networks from {relu}"
        ),
    )


def _data(autopsy: Autopsy) -> Conjecture:
    """Were it the lack of data, success would come with n."""
    cells = sorted(_of(autopsy, "seed"), key=lambda c: c.n)
    smallest, largest = cells[0].n, cells[-1].n
    few = sum(c.n_success for c in cells if c.n == smallest)
    most = [c for c in cells if c.n == largest]
    many, starts = sum(c.n_success for c in most), sum(c.n_starts for c in most)
    stays = any(c.stays for c in most)
    return Conjecture(
        "there is not enough data",
        holds=stays or many > max(few, starts / 2),
        evidence=(
            f"from n = {smallest} to {largest} the successes go from {few} to {many} of {starts}; started at the "
            f"optimum of {largest} rows it {'stays' if stays else 'leaves'}; Gauss-Newton does profit: its rate at "
            f"the optimum falls as n to the {autopsy.rate_slope:.2f}"
        ),
    )


def _start(autopsy: Autopsy) -> Conjecture:
    """Were it the start, an optimum would be a start that holds."""
    cells = _of(autopsy, "seed")
    stayed = sum(cell.stays for cell in cells)
    factors = [float(cell.from_optimum.rms[1]) / cell.optimum_rms for cell in cells]
    return Conjecture(
        "the start is bad",
        holds=stayed > len(cells) / 2,
        evidence=(
            f"started at an optimum the rule stays in {stayed} of {len(cells)} cases; its first step multiplies the "
            f"rms residual by {min(factors):.1f} to {max(factors):.1f}"
        ),
    )


def _dropped_term(autopsy: Autopsy) -> Conjecture:
    """Were it the dropped -f + BW, the rule with it would stay at an optimum, and damping would make it arrive."""
    stayed = [cell.stays for cell in _of(autopsy, "Gauss-Newton")]
    damped = _of(autopsy, "Levenberg-Marquardt, prior", "tanh")
    arrived, starts = sum(c.n_success for c in damped), sum(c.n_starts for c in damped)
    undamped = sum(c.n_success for c in _of(autopsy, "Gauss-Newton", "tanh"))
    return Conjecture(
        "the rule regresses d where the linearization asks for d - f + BW",
        holds=all(stayed) and arrived > starts / 2,
        evidence=(
            f"with the term, undamped, the iteration stays at the optimum in {sum(stayed)} of {len(stayed)} cases but "
            f"reaches it from {undamped} of {starts} random starts (tanh); damped as well, from {arrived}"
        ),
    )
