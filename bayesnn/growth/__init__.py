"""How the posterior becomes Gaussian as data grow, or does not."""

from bayesnn.growth.growth import GoodEnough, Growth
from bayesnn.growth.makers import Subsamples, Teacher, Twin
from bayesnn.growth.rates import Rate
from bayesnn.growth.record import Record
from bayesnn.growth.study import data_growth

__all__ = ["GoodEnough", "Growth", "Rate", "Record", "Subsamples", "Teacher", "Twin", "data_growth"]
