"""Figures of linear networks show the numbers they are made of."""

import numpy as np

from bayesnn import DeepLinear
from bayesnn.landscape import PopulationRisk, along_path, descend, descend_residual
from bayesnn.report.landscape_networks import product_figure, rates_figure, side_by_side_figure


def test_rates_are_those_of_the_path():
    found = descend_residual(PopulationRisk(DeepLinear((1, 1, 1), residual=True), [[2.0]]), 0.05, until=1e-12)
    loss, norm, rate = rates_figure([("two", found)]).axes
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), found.path.values)
    np.testing.assert_array_equal(norm.lines[0].get_ydata(), found.path.gradient_norms)
    np.testing.assert_array_equal(rate.lines[0].get_ydata(), along_path(found.path, 0.0).observed_rate)
    assert np.all(loss.lines[1].get_ydata() >= found.path.values)
    assert np.all(norm.lines[1].get_ydata() <= found.path.gradient_norms * (1.0 + 1e-12))


def test_the_section_is_above_its_chord():
    section = product_figure().axes[1].lines[0]
    w = section.get_xdata()
    np.testing.assert_allclose(section.get_ydata(), (1.0 - w**2) ** 2, atol=1e-12)


def test_side_by_side_one_stays_and_one_falls():
    paths = [
        descend(PopulationRisk(DeepLinear((1, 1, 1), residual=is_residual), [[2.0]]), np.zeros(2), 0.05, 100)
        for is_residual in (False, True)
    ]
    plain, residual = (line.get_ydata() for line in side_by_side_figure(*paths).axes[0].lines)
    assert len(plain) == len(residual)
    assert np.all(plain == 4.0)
    assert residual[-1] < 1e-6


def test_there_are_as_many_lines_as_descents():
    found = descend_residual(PopulationRisk(DeepLinear((1, 1, 1), residual=True), [[2.0]]), 0.05, until=1e-6)
    one, six = (len(rates_figure([(str(i), found) for i in range(n)]).axes[2].lines) for n in (1, 6))
    assert six - one == 5 * (len(rates_figure([("a", found), ("b", found)]).axes[2].lines) - one)
