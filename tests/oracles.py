"""Naive references: readable, slow, and sharing no code with the package.

Everything works row by row and unit by unit on Python complex numbers, so that derivatives come from complex
steps (Squire & Trapp 1998, SIAM Review 40): no cancellation, exact to rounding for analytic functions.
"""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
from scipy.stats import multivariate_normal, norm

STEP = 1e-30
ANALYTIC = ("tanh", "softplus", "sin", "identity")
ODD = ("tanh", "sin", "identity")

VALUE = {
    "tanh": np.tanh,
    "relu": lambda z: z if np.real(z) > 0 else 0.0 * z,
    "softplus": lambda z: np.log1p(np.exp(z)),
    "sin": np.sin,
    "identity": lambda z: z,
}
SLOPE = {
    "tanh": lambda z: 1.0 / np.cosh(z) ** 2,
    "relu": lambda z: 1.0 if np.real(z) > 0 else 0.0,
    "softplus": lambda z: 1.0 / (1.0 + np.exp(-z)),
    "sin": np.cos,
    "identity": lambda z: 1.0,
}


class Net:
    """What an MLP is, said once more: widths, the name of the activation, whether it has biases."""

    def __init__(self, widths, activation="tanh", bias=True):
        self.widths, self.activation, self.bias = tuple(widths), activation, bias

    @classmethod
    def of(cls, mlp):
        return cls((mlp.in_features, *mlp.hidden, mlp.out_features), mlp.activation.name, mlp.bias)

    @property
    def n_weights(self):
        return sum(a * b + (b if self.bias else 0) for a, b in itertools.pairwise(self.widths))


def unpack(net, weights):
    """Cut the flat vector into [(W, b), ...]: layer by layer, W in C order, then b."""
    layers, at = [], 0
    for fan_in, fan_out in itertools.pairwise(net.widths):
        matrix = [[weights[at + i * fan_out + j] for j in range(fan_out)] for i in range(fan_in)]
        at += fan_in * fan_out
        bias = [0.0] * fan_out
        if net.bias:
            bias = list(weights[at : at + fan_out])
            at += fan_out
        layers.append((matrix, bias))
    assert at == len(weights)
    return layers


def forward_row(net, weights, row):
    """Outputs of one row, and the sums before every activation."""
    layers = unpack(net, weights)
    here, sums = list(row), []
    for number, (matrix, bias) in enumerate(layers):
        fan_out = len(bias)
        z = [bias[j] + sum(here[i] * matrix[i][j] for i in range(len(here))) for j in range(fan_out)]
        sums.append(z)
        last = number == len(layers) - 1
        here = z if last else [VALUE[net.activation](v) for v in z]
    return here, sums


def predict(net, weights, x):
    """Outputs (n, out)."""
    return np.array([forward_row(net, weights, row)[0] for row in x])


def jacobian(net, weights, x):
    """Derivatives (n, out, k): complex step for analytic activations, central differences for relu."""
    columns = []
    for j in range(net.n_weights):
        direction = np.zeros(net.n_weights)
        direction[j] = 1.0
        if net.activation in ANALYTIC:
            columns.append(predict(net, weights + 1j * STEP * direction, x).imag / STEP)
        else:
            h = 1e-6
            up, down = (predict(net, weights + s * h * direction, x) for s in (1.0, -1.0))
            columns.append((up - down) / (2.0 * h))
    return np.stack(columns, axis=-1)


def weighted_gradient(net, weights, x, cotangent):
    """Gradient (k,) of sum(cotangent * f) by the chain rule, one row, one unit at a time; complex weights do."""
    layers = unpack(net, weights)
    total = np.zeros(net.n_weights, dtype=np.result_type(weights, cotangent, float))
    for row, given in zip(x, cotangent, strict=True):
        _, sums = forward_row(net, weights, row)
        inputs = [list(row)] + [[VALUE[net.activation](v) for v in z] for z in sums[:-1]]
        delta, parts = list(given), []
        for number in reversed(range(len(layers))):
            matrix, _ = layers[number]
            flat = [u * d for u in inputs[number] for d in delta]
            parts.insert(0, flat + (delta if net.bias else []))
            if number:
                delta = [
                    SLOPE[net.activation](sums[number - 1][i]) * sum(matrix[i][j] * delta[j] for j in range(len(delta)))
                    for i in range(len(matrix))
                ]
        total = total + np.array([entry for part in parts for entry in part])
    return total


def weighted_hessian(net, weights, x, cotangent):
    """Hessian (k, k) of sum(cotangent * f), by complex steps of its gradient."""
    k = net.n_weights
    return np.array([weighted_gradient(net, weights + 1j * STEP * e, x, cotangent).imag / STEP for e in np.eye(k)])


def sigma_of_rows(sigma, n):
    """One noise standard deviation for every row."""
    return np.full(n, sigma) if np.ndim(sigma) == 0 else np.asarray(sigma)


def log_likelihood(net, weights, x, y, sigma):
    """Log likelihood of every row (n,), by scipy."""
    rows = sigma_of_rows(sigma, len(x))
    outputs = predict(net, weights, x)
    return np.array([norm.logpdf(y[i], outputs[i], rows[i]).sum() for i in range(len(x))])


def log_prior(weights, precision):
    """Log prior, by scipy; weights of precision 0 contribute nothing."""
    return sum(norm.logpdf(w, 0.0, 1.0 / np.sqrt(t)) for w, t in zip(weights, precision, strict=True) if t > 0)


def log_density(net, weights, x, y, sigma, precision):
    """Log of the unnormalised posterior."""
    return log_likelihood(net, weights, x, y, sigma).sum() + log_prior(weights, precision)


def gradient(net, weights, x, y, sigma, precision):
    """Gradient (k,) of the log density; complex weights do."""
    rows = sigma_of_rows(sigma, len(x))
    scaled = (y - predict(net, weights, x)) / rows[:, None] ** 2
    return weighted_gradient(net, weights, x, scaled) - precision * weights


def hessian(net, weights, x, y, sigma, precision):
    """Hessian (k, k) of the negative log density, by complex steps of the gradient."""
    steps = [weights + 1j * STEP * e for e in np.eye(net.n_weights)]
    return -np.array([gradient(net, w, x, y, sigma, precision).imag / STEP for w in steps])


def ggn(net, weights, x, sigma, precision):
    """B' Lambda B + prior precision, an explicit sum over rows and outputs."""
    rows = sigma_of_rows(sigma, len(x))
    B = jacobian(net, weights, x)
    total = np.diag(np.asarray(precision, dtype=float))
    for i in range(B.shape[0]):
        for o in range(B.shape[1]):
            total = total + np.outer(B[i, o], B[i, o]) / rows[i] ** 2
    return total


def images(net, weights, hidden_layer=0):
    """All symmetric images of the weights under one hidden layer's group: every order, every sign of its units."""
    units = range(net.widths[hidden_layer + 1])
    signs = (1.0, -1.0) if net.activation in ODD else (1.0,)
    for order in itertools.permutations(units):
        for flip in itertools.product(signs, repeat=len(units)):
            order_, flip_ = list(order), np.array(flip)
            layers = [(np.array(matrix), np.array(bias)) for matrix, bias in unpack(net, weights)]
            (incoming, bias), (outgoing, bias_after) = layers[hidden_layer : hidden_layer + 2]
            layers[hidden_layer] = incoming[:, order_] * flip_, bias[order_] * flip_
            layers[hidden_layer + 1] = outgoing[order_] * flip_[:, None], bias_after
            parts = [part for pair in layers for part in (pair if net.bias else pair[:1])]
            yield np.concatenate([part.ravel() for part in parts])


def nearest_image(net, weights, reference):
    """The nearest of all images of a network with one hidden layer."""
    return min(images(net, weights), key=lambda image: np.sum((image - reference) ** 2))


def design(x):
    """Design matrix of a linear network with biases: its columns in the order of its weights, [W1, b1]."""
    return np.column_stack([x, np.ones(len(x))])


class LinearGaussian:
    """Bayesian linear regression in closed form (Bishop 2006, section 3.3), by plain inverses."""

    def __init__(self, A, y, sigma, precision):
        rows = sigma_of_rows(sigma, len(A))
        weighted = A / rows[:, None] ** 2
        self.precision = A.T @ weighted + np.diag(precision)
        self.covariance = np.linalg.inv(self.precision)
        self.mean = self.covariance @ (weighted.T @ y)
        marginal = np.diag(rows**2) + A @ np.diag(1.0 / precision) @ A.T
        self.log_evidence = multivariate_normal.logpdf(y, np.zeros(len(y)), marginal)


def nist(name):
    """A certified linear least squares problem: columns without the constant, y, and what NIST certifies.

    Certified values are reordered from (constant, slopes) to (slopes, constant).
    """
    record = json.loads((Path(__file__).parent / "data" / f"{name}.json").read_text())
    columns = {key: np.array(values) for key, values in record["data"].items()}
    y = columns.pop("y")
    x = np.column_stack(list(columns.values()))
    if record["design_columns"] == "1, x, x**2, x**3, x**4, x**5":
        x = np.column_stack([x[:, 0] ** power for power in range(1, 6)])
    certified = {key: np.roll(record["certified"][key], -1) for key in ("params", "std")}
    return x, y, certified["params"], certified["std"], record["residual_sd"]


def exact_inverse_gram_diagonal(A):
    """Diagonal of (A'A)^-1 for an integer matrix, in rational numbers: Gauss-Jordan without rounding."""
    k = A.shape[1]
    columns = [[Fraction(int(value)) for value in column] for column in A.T]
    rows = [
        [sum(a * b for a, b in zip(columns[i], columns[j], strict=True)) for j in range(k)]
        + [Fraction(int(i == j)) for j in range(k)]
        for i in range(k)
    ]
    for pivot in range(k):
        rows[pivot] = [value / rows[pivot][pivot] for value in rows[pivot]]
        for other in range(k):
            if other != pivot:
                factor = rows[other][pivot]
                rows[other] = [a - factor * b for a, b in zip(rows[other], rows[pivot], strict=True)]
    return np.array([float(rows[i][k + i]) for i in range(k)])
