"""How to get to an optimum, and proof of being there."""

from bayesnn.optimum.autopsy import Autopsy, run_autopsy
from bayesnn.optimum.certificate import Certificate, certify
from bayesnn.optimum.climb import Climb
from bayesnn.optimum.conjectures import Conjecture, judge_conjectures
from bayesnn.optimum.descent import Descent, scipy_descent
from bayesnn.optimum.find import Optimum, find_optimum, uninterrupted
from bayesnn.optimum.hops import hop
from bayesnn.optimum.levenberg_marquardt import climb_together, levenberg_marquardt
from bayesnn.optimum.linearized_iteration import LinearizedPath, iterate_linearized, map_jacobian
from bayesnn.optimum.status import OptimumError, Status

__all__ = [
    "Autopsy",
    "Certificate",
    "Climb",
    "Conjecture",
    "Descent",
    "LinearizedPath",
    "Optimum",
    "OptimumError",
    "Status",
    "certify",
    "climb_together",
    "find_optimum",
    "hop",
    "iterate_linearized",
    "judge_conjectures",
    "levenberg_marquardt",
    "map_jacobian",
    "run_autopsy",
    "scipy_descent",
    "uninterrupted",
]
