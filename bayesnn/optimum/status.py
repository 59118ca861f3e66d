"""How a search for an optimum ended, with advice."""

from enum import StrEnum

from bayesnn.errors import BayesnnError


class Status(StrEnum):
    """How a run ended. Each member carries advice.

    Examples
    --------
    >>> Status.converged == "converged", Status.saddle.advice.split(":")[0]
    (True, 'The gradient is zero but the curvature is negative somewhere')
    """

    advice: str

    converged = "converged", "The point is an optimum to the stated tolerance."
    max_steps = "max_steps", "The steps ran out first: raise max_steps, or start nearer."
    cycle = "cycle", "The iteration returns to points it left: use rule='levenberg-marquardt'."
    diverged = "diverged", "The weights run away: use a proper prior or a damped method."
    saddle = (
        "saddle",
        "The gradient is zero but the curvature is negative somewhere: start elsewhere, or use more starts.",
    )
    rank_deficient = (
        "rank_deficient",
        "The data leave some directions of the weights free: give a NormalPrior, or remove redundant weights.",
    )
    nonfinite = (
        "nonfinite",
        "The log density is NaN or infinite: standardise the data, or start at smaller weights.",
    )
    stalled = (
        "stalled",
        "No step improves the log density though the gradient is not zero: check the scaling of the data "
        "and that the gradient is right.",
    )

    def __new__(cls, value: str, advice: str) -> "Status":
        """Make a member whose value is the name and whose advice travels along."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.advice = advice
        return member


class OptimumError(BayesnnError):
    """Raised where ``throw=True`` and the search did not end at an optimum.

    Parameters
    ----------
    status : Status
        How it ended.
    reasons : tuple of str
        What the certificate found.
    """

    def __init__(self, status: Status, reasons: tuple[str, ...]) -> None:
        super().__init__(f"{status}: {'; '.join(reasons)}. {status.advice}")
        self.status = status
        self.reasons = reasons

    def __reduce__(self) -> tuple[type["OptimumError"], tuple[Status, tuple[str, ...]]]:
        # Rebuilt from its parts where a worker process sends it back.
        return type(self), (self.status, self.reasons)
