"""Linear networks, plain and residual: saddles, rates, bounds, and what Bayes makes of them. Tables and figures.

Run it with --quick for a first look: smaller sets to search, fewer draws.
"""

import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.spatial.transform import Rotation

import bayesnn as bnn
from bayesnn import DeepLinear
from bayesnn import landscape as land
from bayesnn.report.landscape_networks import product_figure, rates_figure, side_by_side_figure

QUICK = "--quick" in sys.argv
FOLDER = Path("runs/linear_networks")
CONSOLE = Console(width=110)
COVARIANCE = np.diag([1.0, 0.5, 2.0])
# Eigenvectors of the map to be learned at each depth, as rotation vectors: any would do, and rates depend on them.
TURNS = {2: (0.45, -0.89, -1.2), 8: (-0.09, -1.93, -1.41), 32: (-0.526, -0.018, 0.543)}


def show(title, header, rows):
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:.5g}" for cell in row))
    CONSOLE.print(table)


def residual(d, n_layers):
    """Return the residual network of so many square layers."""
    return DeepLinear((d,) * (n_layers + 1), residual=True)


def kawaguchi():
    """List the critical points of two and three matrices, and leave every saddle."""
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 2))
    y = x @ np.array([[1.5, 0.8], [-0.6, 1.0]]) + 0.3 * random.standard_normal((40, 2))
    for widths in ((2, 2, 2), (2, 2, 2, 2)):
        loss = land.LeastSquares(DeepLinear(widths), x, y)
        rows = []
        for point in land.critical_points(loss).points:
            way = land.escape(loss, point.weights)
            rows.append(
                (
                    str(point.kept),
                    point.value,
                    point.optimality.least_eigenvalue,
                    "global minimum" if point.is_global else point.optimality.verdict.value,
                    "none" if way is None else way.way.value,
                    "" if way is None else way.value,
                )
            )
        header = ("kept", "loss", "least eigenvalue", "verdict", "way down", "loss at its end")
        show(f"Critical points of {widths}", header, rows)
    singular = np.linalg.svd(x.T @ y, compute_uv=False)
    rows = []
    for depth in (2, 3, 4):
        loss = land.LeastSquares(DeepLinear((2,) * (depth + 1)), x, y)
        at = land.optimality(loss, np.zeros(loss.n_weights))
        rows.append((str(depth), at.least_eigenvalue, at.largest_eigenvalue, singular[0], at.verdict.value))
    show("Hessian at zero", ("matrices", "least", "largest", "sigma_max(XY')", "verdict"), rows)


def bounds():
    """Search for the smallest ratio of the squared gradient to the corrected bound, and to the printed one."""
    random, corrected, printed = np.random.default_rng(0), [], []
    for _ in range(300 if QUICK else 3000):
        d, n_layers = int(random.integers(1, 4)), int(random.integers(1, 6))
        root = random.standard_normal((d, d + 1))
        risk = land.PopulationRisk(residual(d, n_layers), random.standard_normal((d, d)), root @ root.T)
        weights = land.SpectralBall(risk.network, random.uniform(0.05, 0.95)).sample(random, 1)[0]
        value, gradient = risk.value_and_gradient(weights)
        tau = land.largest_norm(risk.network, weights)
        square = float(gradient @ gradient) / value
        corrected.append(square / land.guaranteed_polyak(n_layers, tau, risk.least_variance))
        printed.append(square / land.printed_polyak(n_layers, tau, risk.least_variance))
    rows = [
        (name, min(ratios), f"{sum(r < 1.0 - 1e-9 for r in ratios)} of {len(ratios)}")
        for name, ratios in (("corrected", corrected), ("printed", printed))
    ]
    show("Squared gradient over the bound, random points", ("bound", "least ratio", "violated"), rows)
    risk = land.PopulationRisk(residual(1, 2), [[1.0]])
    value, gradient = risk.value_and_gradient(np.array([-0.5, -0.5]))
    row = (
        float(gradient @ gradient),
        land.printed_polyak(2, 0.5, 1.0) * value,
        land.guaranteed_polyak(2, 0.5, 1.0) * value,
    )
    show("Counterexample: a1 = a2 = -1/2, R = 1", ("squared gradient", "printed bound", "corrected bound"), [row])
    rows = []
    for n_layers in (2, 4, 8):
        risk = land.PopulationRisk(residual(2, n_layers), np.diag([1.5, 0.7]))
        found = land.polyak_over(risk, land.SpectralBall(risk.network, 0.3), 0.0, budget=500 if QUICK else 4000)
        bound = land.guaranteed_polyak(n_layers, 0.3, 1.0)
        rows.append((str(n_layers), bound, found.value, found.by_random_points, str(found.n_evaluations)))
    header = ("layers", "guaranteed", "least found", "by random points", "evaluations")
    show("Polyak's constant in the ball of radius 0.3", header, rows)


def rates():
    """Descend from zero to symmetric positive maps of the same eigenvalues, one at each of three depths."""
    descents, rows = [], []
    for n_layers, turn in TURNS.items():
        basis = Rotation.from_rotvec(turn).as_matrix()
        target = np.diag([2.0, 1.2, 0.5])
        risk = land.PopulationRisk(residual(3, n_layers), basis @ target @ basis.T, COVARIANCE)
        found = land.descend_residual(risk, 0.05 / n_layers, 5000, until=1e-22)
        measured = land.along_path(found.path, 0.0)
        descents.append((f"{n_layers} layers", found))
        rows.append(
            (
                str(n_layers),
                str(found.path.n_steps),
                float(found.largest_norms.max()),
                found.guaranteed,
                measured.least_polyak,
                float(measured.observed_rate[-1]),
                float(measured.implied_rate[-1]),
                1.0 - 0.5 * found.path.step * found.guaranteed,
            )
        )
    header = (
        "layers",
        "steps to 1e-22",
        "tau",
        "alpha guaranteed",
        "least alpha",
        "rate",
        "1 - eta alpha",
        "guaranteed",
    )
    show("Residual networks from zero", header, rows)
    rates_figure(descents).savefig(FOLDER / "rates.png", dpi=120)


def small_optima():
    """Split a rotation and stretching over more and more layers."""
    target = np.array([[0.0, -2.0], [0.5, 0.0]])
    rows = []
    for n_layers in (4, 8, 16, 32, 64):
        found = land.small_optimum(target, n_layers)
        risk = land.PopulationRisk(residual(2, n_layers), target)
        value = risk.value_and_gradient(found.weights)[0]
        rows.append((str(n_layers), str(found.n_rotations), found.largest_norm, found.bound, f"{value:.1e}"))
    show("A global optimum near zero", ("layers", "of them rotate", "largest |A_i|", "bound", "risk"), rows)
    risk = land.PopulationRisk(residual(2, 4), np.diag([1.0, -1.0]))
    found = land.descend_residual(risk, 0.05 / 4, 5000, radius=0.9)
    row = (
        found.path.values[-1],
        found.path.gradient_norms[-1],
        found.largest_norms[-1],
        "boundary" if found.ends_on_boundary else "inside",
    )
    show("det R < 0, projected on to |A_i| <= 0.9", ("risk", "gradient", "largest |A_i|", "ends"), [row])


def side_by_side():
    """Descend both parametrisations of one map from zero."""
    target = np.array([[1.5, 0.3], [-0.2, 0.8]])
    paths, rows = [], []
    for name, is_residual in (("plain", False), ("residual", True)):
        net = DeepLinear((2,) * 5, residual=is_residual)
        risk = land.PopulationRisk(net, target)
        path = land.descend(risk, np.zeros(net.n_weights), 0.02, 400, until=1e-14)
        first = land.optimality(risk, np.zeros(net.n_weights))
        rows.append((name, first.gradient_norm, first.verdict.value, path.values[-1], path.ending.value))
        paths.append(path)
    show("Four layers from zero", ("network", "gradient at zero", "verdict", "loss at the end", "ending"), rows)
    side_by_side_figure(*paths).savefig(FOLDER / "side_by_side.png", dpi=120)


def bayes():
    """Approximate, sample and compare, and set sampled learning coefficients beside exact ones."""
    target = np.array([[1.2, -0.5], [0.4, 0.9]])
    rows = []
    for net in (DeepLinear((2, 2)), DeepLinear((2, 2, 2)), DeepLinear((2, 2, 2), residual=True)):
        found = land.bayes_of_linear_network(net, target, num_samples=300 if QUICK else 2000)
        rows.append(
            (
                repr(net),
                f"{found.n_zero} ({found.n_free})",
                found.worst_in_weights,
                found.worst_in_predictions,
                found.agreement.verdict.value,
            )
        )
    header = ("network", "zeros of B'B (theory)", "|log sd ratio| of weights", "of predictions", "verdict")
    show("Gaussian against draws", header, rows)
    rows = []
    for widths, rank in (((2, 2, 2), 0), ((3, 2, 3), 0), ((2, 1, 2), 1)):
        exact, t = land.learning_coefficient_exact(widths, rank), 3000.0
        net = DeepLinear(widths)
        weights = np.zeros(net.n_weights) if rank == 0 else np.array([1.0, 0.5, 0.8, -0.6])
        x = np.tile(np.eye(widths[0]), (3, 1))
        noise = bnn.Gaussian(np.sqrt(1.5 / t))
        post = bnn.Posterior(net, x, net.predict(weights, x), noise, bnn.NormalPrior(1.0))
        found = bnn.learning_coefficient(
            bnn.fit_laplace(post, weights), inverse_temperature=1.0, num_samples=300 if QUICK else 2000
        )
        sampled = f"{found.value:.3f} +- {found.error:.3f}"
        rows.append((str(widths), str(rank), exact.n_weights / 2.0, exact.value, str(exact.multiplicity), sampled))
    header = ("widths", "rank", "k / 2", "exact", "m", "sampled, t = 3000")
    show("Learning coefficients", header, rows)


if __name__ == "__main__":  # other processes import this file
    FOLDER.mkdir(parents=True, exist_ok=True)
    product_figure().savefig(FOLDER / "product.png", dpi=120)
    kawaguchi()
    bounds()
    rates()
    small_optima()
    side_by_side()
    bayes()
    print(f"figures: {FOLDER}")
