"""Over-parametrisation by poles and zeros that cancel."""

import numpy as np
import pytest

from bayesnn.landscape.acquiescence import AcquiescentSet
from bayesnn.landscape.extension import acquiescent_extension, extended, extension
from bayesnn.models import LinearSystem
from tests.refusals import refuses

REGION = AcquiescentSet(t0=0.2, t1=0.05, t2=6.0)
# Theory E3: roots .95, +-.9, .9 e^(+-2i)
EXAMPLE = np.real(np.poly([0.95, 0.9, -0.9, 0.9 * np.exp(2j), 0.9 * np.exp(-2j)]))[1:]


@pytest.mark.parametrize(
    ("degree", "deviation", "digits", "inside"),
    [(10, 2.9, 0.05, False), (40, 1.07, 0.005, False), (80, 0.151, 0.0005, True), (120, 0.020, 0.0005, True)],
)
def test_the_example_of_the_theory(degree, deviation, digits, inside):
    found = extension(EXAMPLE, degree, REGION)
    assert found.deviation == pytest.approx(deviation, abs=digits)
    assert found.is_acquiescent == inside
    assert found.degree == degree
    assert len(found.a) == degree + 5
    product = np.convolve(np.append(1.0, EXAMPLE), np.append(1.0, found.u))
    assert np.allclose(product[1:], found.a, rtol=0, atol=1e-12)


def test_the_smallest_degree_is_the_first_that_will_do():
    found = acquiescent_extension(EXAMPLE, REGION)
    inside = [extension(EXAMPLE, degree, REGION).is_acquiescent for degree in range(90)]
    assert found.degree == inside.index(True) <= 80
    assert all(inside[found.degree :])
    # of one pole it is known: |a|^(d + 1) < sin(angle)
    expected = int(np.ceil(np.log(np.sin(REGION.angle)) / np.log(0.9))) - 1
    assert acquiescent_extension([-0.9], REGION).degree == expected
    assert acquiescent_extension([0.3], REGION).degree == 0


def test_an_extended_system_is_the_same_system(rng):
    w = np.concatenate([EXAMPLE, rng.standard_normal(6)])
    found = extension(EXAMPLE, 60, REGION)
    larger = extended(w, found.u)
    assert np.allclose(larger[:65], found.a, rtol=0, atol=1e-12)
    z = np.exp(1j * np.linspace(0, np.pi, 50))
    assert np.allclose(
        LinearSystem(65).transfer_function(larger, z), LinearSystem(5).transfer_function(w, z), rtol=1e-10
    )


def test_bad_input_is_refused():
    with refuses("a", "spectral radius 1.2", "below 1"):
        extension([-1.2], 3, REGION)
    with refuses("a", "NaN", "all finite"):
        extension([np.nan], 3, REGION)
    with refuses("degree", "-1", "at least 0"):
        extension([0.5], -1, REGION)
    with refuses("most", "10, where the margin is", "a larger degree"):
        acquiescent_extension(EXAMPLE, REGION, most=10)
    with refuses("weights", "shape (4,)", "shape (2 n + 1,)"):
        extended(np.zeros(4), [0.1])
