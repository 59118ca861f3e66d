"""Symmetric images of the hidden weights of a network of one hidden layer, its output layer integrated out."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from bayesnn.arrays import FloatArray, IntArray


@dataclass(frozen=True)
class UnitImages:
    """What permuting the units, and flipping their signs where the activation is odd, makes of kept coordinates.

    Parameters
    ----------
    places : ndarray of int (fan in + bias, units)
        Where each unit's weights are among the coordinates.
    is_odd : bool
        Whether signs flip.
    """

    places: IntArray
    is_odd: bool

    def nearest(self, kept: FloatArray, reference: FloatArray) -> FloatArray:
        """Return the image of coordinates (m,) whose units are nearest to those of a reference (m,), exactly."""
        own, wanted = kept[self.places], reference[self.places]
        agreement: FloatArray = wanted.T @ own
        _, order = linear_sum_assignment(np.abs(agreement) if self.is_odd else agreement, maximize=True)
        matched: FloatArray = agreement[range(len(order)), order]
        signs = np.where(matched < 0.0, -1.0, 1.0) if self.is_odd else 1.0
        image = kept.copy()
        image[self.places] = own[:, order] * signs
        return image

    def random(self, kept: FloatArray, random: np.random.RandomState) -> FloatArray:
        """Return an image of coordinates (m,), all equally likely."""
        own = kept[self.places]
        order = random.permutation(own.shape[1])
        signs = np.sign(random.random_sample(len(order)) - 0.5) if self.is_odd else 1.0
        image = kept.copy()
        image[self.places] = own[:, order] * signs
        return image
