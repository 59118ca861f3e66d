"""Figures of linear systems show the numbers they are given."""

import numpy as np
import pytest

from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.idealised_risk import IdealisedRisk
from bayesnn.landscape.quasi_convexity import quasi_convexity
from bayesnn.landscape.system_descent import descend_system
from bayesnn.models import LinearSystem
from bayesnn.report.landscape_systems import descent_figure, pole_figure, quasi_convexity_figure, transfer_figure

TARGET = np.array([0.3, -0.2, 0.5, -1.0, 0.3])


def lines(axis):
    return {line.get_label(): np.asarray(line.get_xydata()) for line in axis.get_lines()}


@pytest.fixture(scope="module")
def draws():
    return TARGET + 0.05 * np.random.default_rng(0).standard_normal((500, 5))


def test_poles_are_where_they_are(draws, tmp_path):
    figure = pole_figure({"target": TARGET}, AcquiescentSet(radius=0.9), draws)
    plane, cone = figure.axes
    poles = LinearSystem(2).poles(TARGET)
    assert np.allclose(lines(plane)["target"], np.column_stack([poles.real, poles.imag]))
    assert np.abs(lines(plane)["draws"]).max() < 1.0
    curve = AcquiescentSet(radius=0.9).curve(TARGET[:2])
    assert np.allclose(lines(cone)["target"], np.column_stack([curve.real, curve.imag]))
    (region,) = cone.patches
    for x, y in region.get_xy():
        assert x >= (1.2 - 1e-12) * abs(y)
    figure.savefig(tmp_path / "poles.png")


def test_the_band_of_transfer_functions_holds_the_middle_of_the_draws(draws, tmp_path):
    figure = transfer_figure({"target": TARGET}, draws)
    modulus, _ = figure.axes
    shown = lines(modulus)["target"]
    assert np.allclose(shown[:, 1], np.abs(LinearSystem(2).transfer_function(TARGET, np.exp(1j * shown[:, 0]))))
    assert np.abs(lines(modulus)["draws, median"][:, 1] - shown[:, 1]).max() < 0.1
    figure.savefig(tmp_path / "transfer.png")


def test_the_integrand_has_the_mean_in_its_title(tmp_path):
    found = quasi_convexity(IdealisedRisk(TARGET), np.zeros(5))
    figure = quasi_convexity_figure(found)
    _, integrand = figure.axes
    assert f"{found.inner_product:.3g}" in integrand.get_title()
    figure.savefig(tmp_path / "integrand.png")


def test_descent_shows_every_step(tmp_path):
    path = descend_system(IdealisedRisk(TARGET), np.zeros(5))
    figure = descent_figure({"target": path})
    risk, gradient = figure.axes
    assert np.array_equal(lines(risk)["target"][:, 1], path.risk)
    assert len(gradient.get_lines()[0].get_xdata()) == len(path.path)
    figure.savefig(tmp_path / "descent.png")
