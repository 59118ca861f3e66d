"""How trajectories run: Hamilton's equations, or those at constant speed."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np

from bayesnn.arrays import FloatArray
from bayesnn.sampling.metric import Metric

# Exponent of the noise beyond which a direction is forgotten to the last bit, and more would only overflow.
FORGOTTEN = 75.0

type ValueAndGradient = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
# Weights, momenta (walkers, k), log densities (walkers,) and gradients (walkers, k).
type Phase = tuple[FloatArray, FloatArray, FloatArray, FloatArray]


@runtime_checkable
class Integrates(Protocol):
    """A log density that follows whole trajectories of Hamilton's equations, such as ``posterior.fused()``."""

    def leapfrog(
        self,
        weights: FloatArray,
        momenta: FloatArray,
        gradients: FloatArray,
        scale: FloatArray,
        step_sizes: FloatArray,
        n_steps: int,
    ) -> Phase:
        """Return weights, momenta (chains, k), log densities (chains,) and gradients at the ends."""
        ...


class Dynamics(Protocol):
    """A reversible flow of weights and momenta that keeps the density and a law of the momenta."""

    def draw(self, random: np.random.RandomState, shape: tuple[int, ...]) -> FloatArray:
        """Draw momenta (walkers, k) from their law."""
        ...

    def kinetic(self, momenta: FloatArray) -> FloatArray:
        """Kinetic energies (walkers,), nats."""
        ...

    def integrate(
        self,
        density: ValueAndGradient,
        metric: Metric,
        weights: FloatArray,
        momenta: FloatArray,
        gradient: FloatArray,
        steps: FloatArray,
        n_steps: int,
    ) -> Phase:
        """Follow a trajectory of every walker for so many leapfrog steps of sizes (walkers, 1)."""
        ...


class Hamiltonian:
    r"""Hamilton's equations, :math:`\dot w = S r`, :math:`\dot r = S' g`, of standard normal momenta."""

    def draw(self, random: np.random.RandomState, shape: tuple[int, ...]) -> FloatArray:
        """Draw standard normal momenta."""
        return random.standard_normal(shape)

    def kinetic(self, momenta: FloatArray) -> FloatArray:
        """Half of their squared lengths."""
        return 0.5 * (momenta**2).sum(axis=1)

    def integrate(
        self,
        density: ValueAndGradient,
        metric: Metric,
        weights: FloatArray,
        momenta: FloatArray,
        gradient: FloatArray,
        steps: FloatArray,
        n_steps: int,
    ) -> Phase:
        """Take leapfrog steps, in compiled code where the density has it."""
        whole: object = density
        if isinstance(whole, Integrates):
            return whole.leapfrog(weights, momenta, gradient, metric.scale, steps[:, 0], n_steps)
        log_prob = np.empty(len(weights))
        momenta = momenta + 0.5 * steps * metric.pull(gradient)
        for step in range(n_steps):
            weights = weights + steps * metric.move(momenta)
            log_prob, gradient = density(weights)
            last = step == n_steps - 1
            momenta = momenta + (0.5 if last else 1.0) * steps * metric.pull(gradient)
        return weights, momenta, log_prob, gradient


class Isokinetic:
    r"""The microcanonical flow at constant speed: the gradient turns the direction, and nothing else.

    The direction :math:`u` is uniform on the sphere, weights move by :math:`\dot w = \sqrt k S u`, and
    :math:`\dot u = \sqrt k (I - u u') S' g / (k - 1)`; along it the momentum's length :math:`\rho` obeys
    :math:`\dot \rho / \rho = \sqrt k u' S' g / (k - 1)`, so that :math:`(k - 1) \log \rho - \log p` is constant
    (Ver Steeg & Galstyan 2021, arXiv:2111.02434; Robnik, De Luca, Silverstein & Seljak 2023, JMLR 24). The factor
    :math:`\sqrt k` makes steps as long as Hamilton's. Momenta are :math:`\rho u`.
    """

    def draw(self, random: np.random.RandomState, shape: tuple[int, ...]) -> FloatArray:
        """Draw directions: momenta of length 1."""
        momenta = random.standard_normal(shape)
        return momenta / lengths(momenta)

    def kinetic(self, momenta: FloatArray) -> FloatArray:
        r"""Return :math:`(k - 1) \log \rho`."""
        return (momenta.shape[1] - 1) * np.log(np.linalg.norm(momenta, axis=1))

    def integrate(
        self,
        density: ValueAndGradient,
        metric: Metric,
        weights: FloatArray,
        momenta: FloatArray,
        gradient: FloatArray,
        steps: FloatArray,
        n_steps: int,
    ) -> Phase:
        """Take leapfrog steps: half a turn, a move, half a turn, each of them exact."""
        log_prob, speed = np.empty(len(weights)), np.sqrt(metric.size)
        momenta = turned(momenta, metric.pull(gradient), 0.5 * speed * steps)
        for step in range(n_steps):
            direction = momenta / lengths(momenta)
            weights = weights + speed * steps * metric.move(direction)
            log_prob, gradient = density(weights)
            share = 0.5 if step == n_steps - 1 else 1.0
            momenta = turned(momenta, metric.pull(gradient), share * speed * steps)
        return weights, momenta, log_prob, gradient


def lengths(rows: FloatArray) -> FloatArray:
    """Return Euclidean lengths (walkers, 1) of rows (walkers, k)."""
    return np.sqrt((rows**2).sum(axis=1, keepdims=True))


def turned(momenta: FloatArray, force: FloatArray, times: FloatArray) -> FloatArray:
    r"""Turn momenta (walkers, k) under a constant force (walkers, k) for so long (walkers, 1), exactly.

    With the force's direction `e`, :math:`\delta = t |S'g| / (k - 1)` and :math:`c = u'e`, the direction becomes
    :math:`u + e (\sinh \delta + c (\cosh \delta - 1))` and the length is multiplied by
    :math:`\cosh \delta + c \sinh \delta`; here both are multiplied by :math:`e^{-\delta}`, which may be large.
    """
    length = lengths(momenta)
    strength = lengths(force)
    toward = force / np.maximum(strength, np.finfo(float).tiny)
    direction = momenta / length
    along = (direction * toward).sum(axis=1, keepdims=True)
    delta = times * strength / (momenta.shape[1] - 1)
    fading = np.exp(-delta)
    # 2 e^-delta times the new direction before it is normalised, and times its length
    new = 2.0 * fading * direction + toward * (1.0 - fading) * (1.0 + fading + along * (1.0 - fading))
    grown = 0.5 * (1.0 + along + (1.0 - along) * fading**2)
    return new / lengths(new) * length * grown * np.exp(delta)
