"""How to get to an optimum, and proof of being there."""

from bayesnn.optimum.certificate import Certificate, certify
from bayesnn.optimum.find import Optimum, find_optimum
from bayesnn.optimum.levenberg_marquardt import Descent, levenberg_marquardt
from bayesnn.optimum.status import OptimumError, Status

__all__ = [
    "Certificate",
    "Descent",
    "Optimum",
    "OptimumError",
    "Status",
    "certify",
    "find_optimum",
    "levenberg_marquardt",
]
