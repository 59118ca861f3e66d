"""Linear dynamical systems of one input and one output: recurrent networks without a nonlinearity."""

import numpy as np

from bayesnn.arrays import ArrayLike, ComplexArray, FloatArray
from bayesnn.checks import finite_array, integer_at_least
from bayesnn.errors import ArgumentError
from bayesnn.models.model import Pullback, WeightBlock, block_slices
from bayesnn.models.state_space import StateSpace, companion, filtered, solve_recursion


class LinearSystem:
    r"""A linear system in controllable canonical form, as a model of the last output of a sequence.

    .. math:: G(z) = D + \frac{c_1 + c_2 z + \dots + c_n z^{n-1}}{z^n + a_1 z^{n-1} + \dots + a_n}

    A row of inputs `x` (n, T) is one sequence, the latest value last; its output is the system's output at that time,
    started from rest: :math:`D x_T + \sum_k C A^{k-1} B x_{T-k}`. It is linear in the impulse response, whose
    derivatives are impulse responses of filters with the denominators :math:`p_a^2` and :math:`p_a^3`. The weights are
    ``a[0] = a_1``, ..., ``c[0] = c_1``, ..., ``D``; the recursion `a` is layer 0 for priors, what is read out layer 1.

    Parameters
    ----------
    order : int
        Size `n` of the hidden state, at least 1.

    Raises
    ------
    ArgumentError
        If `order` is not a positive integer.

    References
    ----------
    Hardt, Ma & Recht (2018), Gradient descent learns linear dynamical systems, JMLR 19.

    Examples
    --------
    >>> system = LinearSystem(1)
    >>> system.weight_names
    ('a[0]', 'c[0]', 'D')
    >>> system.impulse_response(np.array([-0.5, 1.0, 0.25]), 4)
    array([0.25, 1.  , 0.5 , 0.25])
    >>> system.predict(np.array([-0.5, 1.0, 0.25]), np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    array([[1.  ],
           [0.25]])
    """

    #: Blocks of rows may be evaluated in several threads at once.
    runs_in_threads = True
    #: One output.
    n_outputs = 1

    def __init__(self, order: int) -> None:
        self.order = integer_at_least("order", order, 1)
        #: The arrays ``a, c, D`` that make up the weight vector.
        self.weight_blocks: tuple[WeightBlock, ...] = (
            WeightBlock("a", (self.order,), ("state",), 0),
            WeightBlock("c", (self.order,), ("state",), 1),
            WeightBlock("D", (), (), 1),
        )
        #: One name per weight.
        self.weight_names: tuple[str, ...] = tuple(
            name for block in self.weight_blocks for name in block.weight_names()
        )
        self._a, self._c, _ = block_slices(self.weight_blocks)

    def __repr__(self) -> str:
        return f"LinearSystem({self.order})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearSystem) and self.order == other.order

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def n_weights(self) -> int:
        """Number of weights, 2 n + 1."""
        return 2 * self.order + 1

    def check_inputs(self, x: ArrayLike) -> FloatArray:
        """Return sequences as an (n, T) array.

        Raises
        ------
        ArgumentError
            If the shape is another, sequences are shorter than order + 1, there are none, or a value is NaN or
            infinite.
        """
        wants = f"shape (n, T), n at least 1, sequences of T at least {self.order + 1} for order {self.order}"
        array = finite_array("x", x, (2,), wants)
        if array.shape[1] <= self.order or array.shape[0] == 0:
            raise ArgumentError("x", f"shape {array.shape}", wants)
        return array

    def check_weights(self, weights: ArrayLike, argument: str = "weights", batch: bool = True) -> FloatArray:
        """Return weights (k,), or (..., k) for a `batch`, or raise ArgumentError."""
        shape = f"(..., {self.n_weights})" if batch else f"({self.n_weights},)"
        wants = f"shape {shape}: a, c and D of order {self.order}"
        array = finite_array(argument, weights, tuple(range(1, 9)) if batch else (1,), wants)
        if array.shape[-1] != self.n_weights:
            raise ArgumentError(argument, f"shape {array.shape}", wants)
        return array

    def initial_weights(self, rng: np.random.Generator) -> FloatArray:
        """Draw weights (k,) of a stable system: poles uniform in the unit disc or in pairs on its real line."""
        poles: list[complex] = list(rng.uniform(-1.0, 1.0, self.order % 2))
        for _ in range(self.order // 2):
            if rng.uniform() < 0.5:
                poles.extend(rng.uniform(-1.0, 1.0, 2))
            else:
                pole = np.sqrt(rng.uniform()) * np.exp(1j * rng.uniform(0.0, np.pi))
                poles.extend([pole, np.conj(pole)])
        a = np.real(np.poly(poles))[1:]
        weights = rng.standard_normal(self.n_weights)
        weights[self._c] /= np.sqrt(self.order)
        weights[self._a] = a
        return weights

    def predict(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """Compute the last output of every sequence.

        Parameters
        ----------
        weights : ndarray (..., k)
            One weight vector, or any batch of them.
        x : ndarray (n, T)
            Sequences of inputs.

        Returns
        -------
        ndarray (..., n, 1)
        """
        with np.errstate(over="ignore", invalid="ignore"):  # far from any stable system: infinity is the answer
            return (self._responses(weights, x.shape[1], 1)[0] @ x[:, ::-1].T)[..., None]

    def vjp(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, Pullback]:
        """Compute the last outputs, and the map from cotangents (..., n, 1) to ``B.T @ c`` (..., k)."""
        latest_first = x[:, ::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            impulse, state, twice = self._responses(weights, x.shape[1], 3)
            outputs = (impulse @ latest_first.T)[..., None]

        def pullback(cotangent: FloatArray) -> FloatArray:
            with np.errstate(over="ignore", invalid="ignore"):
                return self._pulled(cotangent[..., 0] @ latest_first, state, twice)

        return outputs, pullback

    def jacobian(self, weights: FloatArray, x: FloatArray) -> FloatArray:
        """`B` (n, 1, k) at `weights` (k,)."""
        return self.linearize(weights, x)[1]

    def linearize(self, weights: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the last outputs (..., n, 1) and `B` (..., n, 1, k) at `weights` (..., k)."""
        latest_first = x[:, ::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            impulse, derivatives = self._impulse_jacobian(weights, x.shape[1])
            return (impulse @ latest_first.T)[..., None], (latest_first @ derivatives)[..., None, :]

    def hessian_product(
        self, weights: FloatArray, x: FloatArray, cotangent: FloatArray, directions: FloatArray
    ) -> FloatArray:
        """Second-order term: Hessian of ``sum(cotangent * f)`` at `weights` (k,) times `directions` (m, k)."""
        with np.errstate(over="ignore", invalid="ignore"):
            return directions @ self.impulse_hessian(weights, cotangent[:, 0] @ x[:, ::-1])

    def impulse_response(self, weights: ArrayLike, length: int) -> FloatArray:
        """Compute the outputs after a unit impulse, ``D, CB, CAB, ...``.

        Parameters
        ----------
        weights : array_like (..., k)
            Systems.
        length : int
            How many, T.

        Returns
        -------
        ndarray (..., T)

        Raises
        ------
        ArgumentError
            If the weights have another shape or are not finite, or `length` is not a positive integer.
        """
        return self._responses(self.check_weights(weights), integer_at_least("length", length, 1), 1)[0]

    def impulse_jacobian(self, weights: ArrayLike, length: int) -> tuple[FloatArray, FloatArray]:
        """Compute the impulse response (..., T) and its derivatives (..., T, k) by every weight."""
        return self._impulse_jacobian(self.check_weights(weights), integer_at_least("length", length, 1))

    def impulse_hessian(self, weights: ArrayLike, cotangent: FloatArray) -> FloatArray:
        """Hessian (k, k) of ``cotangent @ impulse_response(weights, T)`` at weights (k,), `cotangent` (T,)."""
        w, n = self.check_weights(weights, batch=False), self.order
        length = len(cotangent)
        _, state, twice = self._responses(w, length, 3)
        # d2G / da_i da_j = 2 q^(i+j) c / p^3 and d2G / da_i dc_j = -q^(i+n+1-j) / p^2, q = 1 / z
        thrice, state_twice = solve_recursion(w[self._a], twice), solve_recursion(w[self._a], state)
        lags = range(2, min(2 * n, length - 1) + 1)
        of_a, of_c = np.zeros(2 * n + 1), np.zeros(2 * n + 1)
        for lag in lags:
            of_a[lag] = 2.0 * (cotangent[lag:] @ thrice[: length - lag])
            of_c[lag] = -(cotangent[lag:] @ state_twice[: length - lag])
        i = np.arange(1, n + 1)
        hessian = np.zeros((self.n_weights, self.n_weights))
        hessian[self._a, self._a] = of_a[i[:, None] + i]
        hessian[self._a, self._c] = of_c[i[:, None] + n + 1 - i]
        hessian[self._c, self._a] = hessian[self._a, self._c].T
        return hessian

    def simulate(self, weights: ArrayLike, inputs: ArrayLike) -> FloatArray:
        """Run one system from rest.

        Parameters
        ----------
        weights : array_like (k,)
            The system.
        inputs : array_like (..., T)
            One series of inputs, or any batch of them.

        Returns
        -------
        ndarray (..., T)
            Output at every time.

        Raises
        ------
        ArgumentError
            If a shape is another or a value is not finite.
        """
        w = self.check_weights(weights, batch=False)
        series = finite_array("inputs", inputs, tuple(range(1, 9)), "shape (..., T)")
        denominator = np.append(1.0, w[self._a])
        numerator = w[-1] * denominator
        numerator[1:] += w[self._c][::-1]
        return filtered(numerator, denominator, series)

    def transfer_function(self, weights: ArrayLike, z: ArrayLike) -> ComplexArray:
        """Evaluate ``G(z)`` of systems (..., k) at complex numbers `z` (m,): (..., m)."""
        w, at = self.check_weights(weights), np.asarray(z, dtype=np.complex128)
        shape = (*w.shape[:-1], *([1] * at.ndim))
        above, below = np.zeros(shape, dtype=np.complex128), np.ones(shape, dtype=np.complex128)
        for i in range(self.order):  # Horner
            below = below * at + w[..., i].reshape(shape)
            above = above * at + w[..., 2 * self.order - 1 - i].reshape(shape)
        return w[..., -1].reshape(shape) + above / below

    def state_space(self, weights: ArrayLike) -> StateSpace:
        """Return the matrices of one system (k,)."""
        w = self.check_weights(weights, batch=False)
        return StateSpace(companion(w[self._a]), np.eye(self.order)[-1], w[self._c].copy(), float(w[-1]))

    def poles(self, weights: ArrayLike) -> ComplexArray:
        """Roots (..., n) of the denominators of systems (..., k)."""
        return np.linalg.eigvals(companion(self.check_weights(weights)[..., self._a])).astype(np.complex128)

    def spectral_radius(self, weights: ArrayLike) -> FloatArray:
        """Largest modulus (...) of the poles of systems (..., k): stable below 1."""
        return np.abs(self.poles(weights)).max(axis=-1)

    def _responses(self, weights: FloatArray, length: int, count: int) -> list[FloatArray]:
        """Impulse responses (..., T) of `G`, and for `count` 3 of ``1 / p`` and ``c / p^2``."""
        a, n = weights[..., self._a], self.order
        drive = np.zeros((*weights.shape[:-1], length))
        last = min(n, length - 1)
        drive[..., 1 : last + 1] = weights[..., self._c][..., ::-1][..., :last]
        strictly = solve_recursion(a, drive)
        impulse = strictly.copy()
        impulse[..., 0] = weights[..., -1]
        if count == 1:
            return [impulse]
        unit = np.zeros_like(drive)
        unit[..., 0] = 1.0
        return [impulse, solve_recursion(a, unit), solve_recursion(a, strictly)]

    def _impulse_jacobian(self, weights: FloatArray, length: int) -> tuple[FloatArray, FloatArray]:
        n = self.order
        impulse, state, twice = self._responses(weights, length, 3)
        derivatives = np.zeros((*impulse.shape, self.n_weights))
        for lag in range(1, min(n, length - 1) + 1):  # dG / da_i = -q^i c / p^2, dG / dc_j = q^(n+1-j) / p
            derivatives[..., lag:, lag - 1] = -twice[..., : length - lag]
            derivatives[..., lag:, 2 * n - lag] = state[..., : length - lag]
        derivatives[..., 0, -1] = 1.0
        return impulse, derivatives

    def _pulled(self, cotangent: FloatArray, state: FloatArray, twice: FloatArray) -> FloatArray:
        """Gradient (..., k) of ``sum(cotangent * impulse)``, cotangent (..., T), without the derivatives."""
        n, length = self.order, cotangent.shape[-1]
        gradient = np.zeros((*cotangent.shape[:-1], self.n_weights))
        for lag in range(1, min(n, length - 1) + 1):
            gradient[..., lag - 1] = -(cotangent[..., lag:] * twice[..., : length - lag]).sum(axis=-1)
            gradient[..., 2 * n - lag] = (cotangent[..., lag:] * state[..., : length - lag]).sum(axis=-1)
        gradient[..., -1] = cotangent[..., 0]
        return gradient
