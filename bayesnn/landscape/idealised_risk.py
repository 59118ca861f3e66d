"""The idealised risk of a linear system: squared distance of its transfer function from the target's."""

from functools import cached_property

import numpy as np

from bayesnn.arrays import ArrayLike, ComplexArray, FloatArray
from bayesnn.checks import describe, finite_array, integer_at_least, one_of
from bayesnn.errors import ArgumentError
from bayesnn.landscape.stein import doubled_powers, solve_stein
from bayesnn.models import LinearSystem, companion, filtered

METHODS = ("stein", "powers", "parseval")
# Powers and grids are doubled until what is added is below rounding; beyond so many, only "stein" will do.
LONGEST = 2**22
SETTLED = 1e-14


class IdealisedRisk:
    r"""Mean squared error for white inputs in the long run, of systems against a target system.

    .. math:: g(\hat a, \hat c, \hat D) = (\hat D - D)^2 + \sum_{k \ge 0} (\hat C \hat A^k B - C A^k B)^2
        = \frac{1}{2 \pi} \int_0^{2 \pi} |\hat G(e^{it}) - G(e^{it})|^2 dt

    There are three ways to it. ``"stein"`` solves the Stein equations of the joint system of the target's state and the
    difference of the two states, and their adjoint for the gradient, by doubling: exact for any spectral radius below
    1, and to rounding of the risk itself where it is small. ``"powers"`` sums impulse responses until they have died
    out. ``"parseval"`` takes the mean over a grid on the unit circle, doubled until it settles.

    Parameters
    ----------
    target : array_like (2 m + 1,)
        Weights `a`, `c`, `D` of a stable system, laid out as those of :class:`bayesnn.LinearSystem`.
    order : int, optional
        Order `n` of the systems to compare with it, at least that of the target, which is the default.

    Raises
    ------
    ArgumentError
        If the target is unstable (its spectral radius is named), misshaped or not finite, or its order is above
        `order`.

    References
    ----------
    Hardt, Ma & Recht (2018), Gradient descent learns linear dynamical systems, JMLR 19.

    Examples
    --------
    Of one pole, :math:`\sum_k (\hat a^k - a^k)^2 = 1/(1 - \hat a^2) - 2/(1 - \hat a a) + 1/(1 - a^2)`:

    >>> risk = IdealisedRisk([-0.5, 1.0, 0.0])
    >>> value, gradient = risk.value_and_gradient(np.array([0.0, 1.0, 0.0]))
    >>> round(value, 12), gradient.round(12)
    (0.333333333333, array([1., 0., 0.]))
    """

    def __init__(self, target: ArrayLike, order: int | None = None) -> None:
        weights = system_weights("target", target)
        own = len(weights) // 2
        n = own if order is None else integer_at_least("order", order, own)
        #: The systems that are compared with the target.
        self.system = LinearSystem(n)
        #: Weights (k,) of the target, with poles at 0 where the systems have more than it needs.
        self.target: FloatArray = np.concatenate(
            [weights[:own], np.zeros(n - own), np.zeros(n - own), weights[own : 2 * own], weights[-1:]]
        )
        self._powers = self._powers_of("target", self.target)

    def __repr__(self) -> str:
        return f"IdealisedRisk({describe(self.target.tolist())}, order={self.system.order})"

    @property
    def n_weights(self) -> int:
        """Number of weights, k = 2 n + 1."""
        return self.system.n_weights

    def value(self, weights: ArrayLike, method: str = "stein") -> float:
        """Compute the risk.

        Parameters
        ----------
        weights : array_like (k,)
            A stable system.
        method : {"stein", "powers", "parseval"}
            Which way.

        Returns
        -------
        float

        Raises
        ------
        ArgumentError
            If the system is unstable (its spectral radius is named), or so close to it that only ``"stein"`` ends.
        """
        return self.value_and_gradient(weights, method)[0]

    def value_and_gradient(self, weights: ArrayLike, method: str = "stein") -> tuple[float, FloatArray]:
        """Compute the risk and its gradient (k,); arguments and errors as for :meth:`value`."""
        w = self.system.check_weights(weights, batch=False)
        one_of("method", method, METHODS)
        n = self.system.order
        through = float(w[-1] - self.target[-1])
        ways = {"stein": self._by_stein, "powers": self._by_powers, "parseval": self._by_parseval}
        value, of_a, of_c = ways[method](w, w[:n] - self.target[:n], w[n:-1] - self.target[n:-1])
        return value + through**2, np.concatenate([of_a, of_c, [2.0 * through]])

    def hessian(self, weights: ArrayLike) -> FloatArray:
        """Hessian (k, k) at weights (k,), from impulse responses and their two derivatives until they have died out.

        Raises
        ------
        ArgumentError
            If the system is unstable, or close to it.
        """
        w = self.system.check_weights(weights, batch=False)
        error = self._impulse_error(w)
        jacobian = self.system.impulse_jacobian(w, len(error))[1]
        return 2.0 * (jacobian.T @ jacobian + self.system.impulse_hessian(w, error))

    def finite_risk(self, weights: ArrayLike, length: int, sigma_noise: float = 0.0) -> float:
        r"""Compute the expected mean squared error over a sequence of white inputs from rest.

        :math:`(\hat D - D)^2 + \sum_{k=1}^{T-1} (1 - k/T) (\hat C \hat A^{k-1} B - C A^{k-1} B)^2 + \sigma^2`: an
        impulse that comes at a random time of the sequence has less of its response inside it. Unstable systems have
        one, too.

        Parameters
        ----------
        weights : array_like (k,)
            A system.
        length : int
            Of the sequence, T.
        sigma_noise : float
            Standard deviation of noise added to the target's outputs.

        Returns
        -------
        float

        Raises
        ------
        ArgumentError
            If an argument has another shape or is not finite.
        """
        w = self.system.check_weights(weights, batch=False)
        noise = float(finite_array("sigma_noise", sigma_noise, (0,), "a number, at least 0"))
        if noise < 0.0:
            raise ArgumentError("sigma_noise", f"{noise:g}", "a number, at least 0")
        both = self.system.impulse_response(np.stack([w, self.target]), integer_at_least("length", length, 1))
        share = 1.0 - np.arange(length) / length
        return float((share * (both[0] - both[1]) ** 2).sum()) + noise**2

    def _powers_of(self, argument: str, weights: FloatArray) -> list[FloatArray]:
        powers = doubled_powers(companion(weights[: self.system.order]))
        if powers is None:
            raise unstable(argument, float(self.system.spectral_radius(weights)))
        return powers

    @cached_property
    def _gramian(self) -> FloatArray:
        """Covariance (n, n) of the target's state under white input."""
        entered = np.zeros_like(self._powers[0])
        entered[-1, -1] = 1.0
        return solve_stein(self._powers, self._powers, entered)

    def _by_stein(self, w: FloatArray, by_a: FloatArray, by_c: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        # With d the difference of the states and x the target's, d' = A^ d - B b x and x' = A x + B u, where b are the
        # differences of the last rows, and the error is C^ d + (C^ - C) x. Of the two states themselves, the risk would
        # be a difference of large numbers near the optimum.
        n = self.system.order
        powers, a, c, b = self._powers_of("weights", w), w[:n], w[n:-1], by_a[::-1]
        own, of_target = companion(a), self._powers
        mixed = np.zeros((n, n))
        mixed[-1] = -(b @ self._gramian) @ of_target[0].T
        mixed = solve_stein(powers, of_target, mixed)  # E[d x']
        drift = np.zeros((n, n))
        drift[:, -1] = -own @ (mixed @ b)
        drift += drift.T
        drift[-1, -1] += b @ self._gramian @ b
        spread = solve_stein(powers, powers, drift)  # E[d d']
        with_d, with_x = spread @ c + mixed @ by_c, mixed.T @ c + self._gramian @ by_c
        value = float(c @ with_d + by_c @ with_x)
        # The adjoint: Q = F' Q F + H'H of the joint system, of which the last row of d is needed.
        back, back_target = [power.T for power in powers], [power.T for power in of_target]
        observed = solve_stein(back, back, np.outer(c, c))
        crossed = solve_stein(back, back_target, np.outer(c, by_c) - np.outer(own.T @ observed[:, -1], b))
        row_d = observed[-1] @ own
        row_x = crossed[-1] @ of_target[0] - observed[-1, -1] * b
        of_last_row = row_d @ spread + row_x @ mixed.T + row_d @ mixed + row_x @ self._gramian
        return value, -2.0 * of_last_row[::-1], 2.0 * (with_d + with_x)

    def _by_powers(self, w: FloatArray, by_a: FloatArray, by_c: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        n = self.system.order
        error = self._impulse_error(w)
        error[0] = 0.0  # what passes straight through is counted apart
        gradient = 2.0 * (error @ self.system.impulse_jacobian(w, len(error))[1])
        return float(error @ error), gradient[:n], gradient[n:-1]

    def _impulse_error(self, w: FloatArray) -> FloatArray:
        """Impulse response of the error, until it has died out."""
        n = self.system.order
        radius = max(float(self.system.spectral_radius(w)), float(self.system.spectral_radius(self.target)))
        if not radius < 1.0:
            raise unstable("weights", radius)
        numerator = _difference(w - self.target, self.target)
        memory = np.log(SETTLED) / np.log(radius) if radius > 0.0 else 0.0
        length = max(64, 4 * n + int(np.ceil(memory)))  # doubled where poles that are double die out more slowly
        while length <= LONGEST:
            impulse = np.zeros(length)
            impulse[0] = 1.0
            error = filtered(numerator, np.append(1.0, self.target[:n]), impulse)
            error = filtered(np.ones(1), np.append(1.0, w[:n]), error)
            squares = error**2
            if squares[length // 2 :].sum() <= SETTLED * squares.sum():
                error[0] = w[-1] - self.target[-1]
                return error
            length *= 2
        raise _too_slow(radius)

    def _by_parseval(self, w: FloatArray, by_a: FloatArray, by_c: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        n = self.system.order
        radius = float(self.system.spectral_radius(w))
        if not radius < 1.0:
            raise unstable("weights", radius)
        difference = _difference(w - self.target, self.target)
        size, before = max(256, 4 * n), np.inf
        while size <= LONGEST:
            below = _on_circle(np.append(1.0, w[:n]), size)
            of_target = _on_circle(np.append(1.0, self.target[:n]), size)
            error = _on_circle(difference, size) / (below * of_target)
            # The mean over the circle, by the half that a real system needs.
            squares = np.fft.irfft(np.abs(error) ** 2, size)
            value = float(squares[0])
            if abs(value - before) <= SETTLED * 10.0 * value:
                own = _on_circle(np.append(0.0, w[n:-1][::-1]), size) / below
                of_c = np.fft.irfft(np.conj(error) / below, size)
                of_a = np.fft.irfft(np.conj(error) * own / below, size)
                lags = np.arange(1, n + 1)
                return value, -2.0 * of_a[size - lags], 2.0 * of_c[size - lags][::-1]
            size, before = 2 * size, value
        raise _too_slow(radius)


def _too_slow(radius: float) -> ArgumentError:
    return ArgumentError(
        "weights", f"spectral radius {radius:.9g}", "one further from 1; the method 'stein' takes any below 1"
    )


def unstable(argument: str, radius: float) -> ArgumentError:
    """Return the refusal of an unstable system, which names its spectral radius."""
    return ArgumentError(argument, f"an unstable system, spectral radius {radius:.6g}", "a spectral radius below 1")


def system_weights(argument: str, weights: ArrayLike) -> FloatArray:
    """Return the weights (2 n + 1,) of a system of whatever order, or raise ArgumentError."""
    wants = "weights a, c and D of a system, shape (2 n + 1,)"
    array = finite_array(argument, weights, (1,), wants)
    if len(array) < 3 or len(array) % 2 == 0:
        raise ArgumentError(argument, f"shape {array.shape}", wants)
    return array


def _difference(change: FloatArray, target: FloatArray) -> FloatArray:
    """Numerator (2 n + 1,) of the error in powers of 1/z, ``(c^ - c) p - c (p^ - p)``, over the two denominators."""
    n = len(target) // 2
    of_c, c = np.append(0.0, change[n:-1][::-1]), np.append(0.0, target[n:-1][::-1])
    return np.convolve(of_c, np.append(1.0, target[:n])) - np.convolve(c, np.append(0.0, change[:n]))


def _on_circle(coefficients: FloatArray, size: int) -> ComplexArray:
    """Evaluate a polynomial in 1/z at half of `size` points of the unit circle."""
    return np.fft.rfft(coefficients, size)
