"""What the theory says of the linearized iteration (A1-A4, G1-G5), checked on networks."""

import numpy as np
import pytest

from bayesnn import MLP, FlatPrior, FunctionModel, Gaussian, NormalPrior, Posterior, Status, find_optimum
from bayesnn.optimum import iterate_linearized, map_jacobian
from tests.optimum.test_nist import problem
from tests.refusals import refuses


def random_network(rng, depth, activation="relu", width=3):
    """A bias-free network of `depth` weight layers its weights and inputs."""
    net = MLP(3, (width,) * (depth - 1), 1, activation=activation, bias=False)
    return net, rng.standard_normal(net.n_weights), rng.standard_normal((200, 3))


def rank_deficit(net, weights, x):
    return weights.size - np.linalg.matrix_rank(net.jacobian(weights, x).reshape(-1, weights.size))


def homogeneous(depth, noise=0.0, activation="relu", width=3):
    """Data of a generic bias-free teacher, and the teacher's weights, a balanced optimum of the noiseless fit.

    Generic: B loses one rank for each hidden unit, its scaling, and no more, as it would for dead units or for units
    that are always on.
    """
    rng = np.random.default_rng(0)
    while True:
        net, w, x = random_network(rng, depth, activation, width)
        if rank_deficit(net, w, x) == sum(net.hidden):
            break
    w = balance(net, w)
    y = net.predict(w, x) + noise * rng.standard_normal((200, 1))
    return Posterior(net, x, y, Gaussian(1.0), FlatPrior()), w


def balance(net, weights):
    """Rescale each hidden unit until in- and outgoing weights are equally long: the function stays."""
    arrays, start = [], 0
    for fan_in, fan_out in zip(net.widths[:-1], net.widths[1:], strict=True):
        arrays.append(weights[start : start + fan_in * fan_out].reshape(fan_in, fan_out).copy())
        start += fan_in * fan_out
    for _ in range(2000):
        for layer in range(len(arrays) - 1):
            ratio = np.sqrt(np.linalg.norm(arrays[layer + 1], axis=1) / np.linalg.norm(arrays[layer], axis=0))
            arrays[layer] *= ratio
            arrays[layer + 1] /= ratio[:, None]
    return np.concatenate([array.ravel() for array in arrays])


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_euler_identity_of_bias_free_relu_networks(depth):
    post, w = homogeneous(depth)
    outputs = post.model.predict(w, post.x)
    radial = post.model.jacobian(w, post.x) @ w
    assert np.max(np.abs(radial - depth * outputs)) <= 1e-12 * np.max(np.abs(outputs))


def test_two_layers_return_to_the_optimum_after_two_steps():
    post, w = homogeneous(2)
    path = iterate_linearized(post, w, "seed", 10)
    np.testing.assert_allclose(path.weights_path[1], w / 2, rtol=0, atol=1e-10)
    np.testing.assert_allclose(path.weights_path[2], w, rtol=0, atol=1e-10)
    assert (path.status, path.cycle_period) == (Status.cycle, 2)


def test_three_layers_blow_up_by_thirds_and_threes():
    post, w = homogeneous(3)
    path = iterate_linearized(post, w, "seed", 3).weights_path
    scales = [float(step @ w / (w @ w)) for step in path]
    np.testing.assert_allclose(scales, [1, 1 / 3, 3, 1 / 27], rtol=1e-8)
    assert iterate_linearized(post, w, "seed", 50).status in (Status.diverged, Status.nonfinite)


@pytest.mark.parametrize("depth", [2, 3, 4])
def test_eigenvalues_of_the_seed_map_at_its_fixed_point_are_minus_depth_less_one(depth):
    """The fixed point of the rule fits d/L: at zero residual every eigenvalue of P DT P on col(P) is -(L-1)."""
    post, w = homogeneous(depth)
    fixed = post.with_data(post.x, depth * post.y)  # the rule on L d rests where the network fits d
    step = iterate_linearized(fixed, w, "seed", 1)
    np.testing.assert_allclose(step.weights_path[1], w, rtol=0, atol=1e-9)
    B = post.model.jacobian(w, post.x).reshape(-1, w.size)
    P = np.linalg.pinv(B) @ B
    values = np.linalg.eigvals(P @ map_jacobian(step.iteration_map, w) @ P)
    rank = np.linalg.matrix_rank(B)
    leading = values[np.argsort(-np.abs(values))[:rank]]
    np.testing.assert_allclose(leading, -(depth - 1.0), atol=1e-4)


def test_the_weights_are_an_eigenvector_of_the_seed_map_even_with_noise():
    """A2 (3): multiplier exactly -(L-1) along W itself for any residual, so no fixed point ever attracts."""
    post, _ = homogeneous(2, noise=0.5, activation="identity", width=1)  # a ReLU optimum lies on a kink
    slopes = np.linalg.lstsq(post.x, post.y[:, 0])[0]
    outgoing = np.sqrt(np.linalg.norm(slopes))
    fixed = np.append(slopes / outgoing, outgoing)  # balanced, and at the least-squares optimum
    half = post.with_data(post.x, 2.0 * post.y)
    path = iterate_linearized(half, fixed, "seed", 1)
    np.testing.assert_allclose(path.weights_path[1], fixed, rtol=1e-12)
    assert path.rms[1] > 0.4
    np.testing.assert_allclose(map_jacobian(path.iteration_map, fixed) @ fixed, -fixed, rtol=1e-6)


@pytest.mark.parametrize("depth", [2, 3])
def test_gauss_newton_is_the_seed_rule_on_l_times_the_targets_relaxed_by_one_over_l(depth):
    post, w = homogeneous(depth, noise=0.3)
    start = balance(post.model, w * 1.1)
    newton = iterate_linearized(post, start, "gauss-newton", 1).weights_path[1]
    scaled = post.with_data(post.x, depth * post.y)
    seed = iterate_linearized(scaled, start, "seed", 1, relaxation=1.0 / depth).weights_path[1]
    # balanced weights have no component along the scaling orbits, where the pseudo-inverse does not move
    np.testing.assert_allclose(newton, seed, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("depth", "hidden"), [(2, 3), (3, 6), (4, 9)])
def test_relu_networks_lose_one_rank_for_each_hidden_unit_at_least(depth, hidden):
    rng = np.random.default_rng(1)
    deficits = [rank_deficit(*random_network(rng, depth)) for _ in range(200)]
    assert min(deficits) == hidden  # 9, 15 and 21 of 12, 21 and 30 remain (theory A6)


def test_gauss_newton_stays_at_an_optimum_and_the_seed_leaves_it(teacher_data):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), FlatPrior())
    best = find_optimum(post, n_starts=4, seed=0)
    stays = iterate_linearized(post, best.weights, "gauss-newton", 20)
    assert stays.status is Status.converged
    np.testing.assert_allclose(stays.weights_path[-1], best.weights, atol=1e-8)
    leaves = iterate_linearized(post, best.weights, "seed", 20)
    assert leaves.rms[1] > 5 * leaves.rms[0]
    assert leaves.status is not Status.converged


def test_a_half_step_rests_at_no_optimum_and_says_so(teacher_data):
    post = Posterior(MLP(2, (2,), 1), *teacher_data, Gaussian(0.1), FlatPrior())
    best = find_optimum(post, n_starts=4, seed=0)
    path = iterate_linearized(post, best.weights, "seed", 300, relaxation=0.5)
    assert path.status is Status.stalled
    assert path.rms[-1] > 2 * path.rms[0]


def test_levenberg_marquardt_records_every_kept_step(teacher_posterior):
    path = iterate_linearized(teacher_posterior, np.full(9, 0.3), "levenberg-marquardt", 300)
    assert path.status is Status.converged
    assert np.all(np.diff(path.loss) < 1e-9)
    with refuses("rule", "levenberg-marquardt", "without memory"):
        _ = path.map_eigenvalues


def test_gauss_newton_keeps_the_prior():
    """On a linear model one step is the exact posterior mean, from anywhere."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((20, 3)), rng.standard_normal(20)
    post = Posterior(MLP(3, (), 1), x, y, Gaussian(0.5), NormalPrior(2.0))
    A = np.column_stack([x, np.ones(20)])
    mean = np.linalg.solve(A.T @ A / 0.25 + 2.0 * np.eye(4), A.T @ y / 0.25)
    path = iterate_linearized(post, rng.standard_normal(4), "gauss-newton", 1)
    np.testing.assert_allclose(path.weights_path[1], mean, rtol=1e-10)


@pytest.mark.parametrize("depth", [2, 3])
def test_a_smooth_product_of_weights_cycles_or_diverges_too(depth):
    from bayesnn.optimum.autopsy import scalar_orbit

    orbit = scalar_orbit(depth)
    expected = [1, 1 / 2, 1, 1 / 2, 1] if depth == 2 else [1, 1 / 3, 3, 1 / 27, 243]
    np.testing.assert_allclose(orbit.scales[:5], expected, rtol=1e-9)
    assert orbit.status is (Status.cycle if depth == 2 else Status.diverged)


class TestCertifiedProblems:
    """NIST sets on which undamped Gauss-Newton fails (theory A, issue on the optimum)."""

    def path(self, name, start):
        data, function, jacobian = problem(name)
        model = FunctionModel(function, data["param_names"], jacobian)
        x, y = (np.array(data["data"][column]) for column in ("x", "y"))
        post = Posterior(model, x, y, Gaussian(1.0), FlatPrior())
        return iterate_linearized(post, data[start], "gauss-newton")

    def test_gauss3_cycles_with_period_two(self):
        path = self.path("Gauss3", "start2")
        assert (path.status, path.cycle_period) == (Status.cycle, 2)

    # MGH09 from start 2 holds for the default of 100 steps: after 118 it rests at a true local optimum, not NIST's.
    @pytest.mark.parametrize(("name", "start"), [("Eckerle4", "start1"), ("MGH09", "start1"), ("MGH09", "start2")])
    def test_no_optimum_is_claimed_where_the_iteration_is_lost(self, name, start):
        assert self.path(name, start).status is not Status.converged


@pytest.mark.parametrize(
    ("arguments", "argument", "got", "wants"),
    [
        ({"rule": "newton"}, "rule", "'newton'", "'seed'"),
        ({"n_steps": 0}, "n_steps", "0", "at least 1"),
        ({"start": np.zeros(3)}, "weights", "(3,)", "(9,)"),
        ({"start": np.full(9, np.nan)}, "start", "NaN", "finite"),
        ({"rule": "seed", "ridge": -1.0}, "ridge", "-1", "at least 0"),
        ({"ridge": 1.0}, "ridge", "1 for 'gauss-newton'", "'seed'"),
        ({"relaxation": np.nan}, "relaxation", "NaN", "finite"),
        ({"rule": "levenberg-marquardt", "relaxation": 0.5}, "relaxation", "0.5 for", "or 1"),
    ],
)
def test_bad_arguments_are_refused(teacher_posterior, arguments, argument, got, wants):
    with refuses(argument, got, wants):
        iterate_linearized(teacher_posterior, **({"start": np.zeros(9)} | arguments))


@pytest.mark.parametrize("units", [1e-12, 1e-6, 1.0, 1e9])
def test_what_an_iteration_does_does_not_depend_on_the_units_of_its_weights(units):
    x, start = np.linspace(0.2, 2.0, 12), 0.4
    model = FunctionModel(lambda w, x: np.exp(-w[0] / units * x), ["rate"])
    post = Posterior(model, x, np.exp(-1.3 * x) + 0.01 * np.cos(40.0 * x), Gaussian(1.0), FlatPrior())
    path = iterate_linearized(post, [start * units], n_steps=60)
    assert path.status is Status.converged
    assert path.weights_path[-1, 0] / units == pytest.approx(1.3, abs=0.05)
    assert np.abs(path.map_eigenvalues).max() < 0.1
    # the first step is the solution, however far away
    line = Posterior(FunctionModel(lambda w, x: w[0] / units * x, ["slope"]), x, 1e3 * x, Gaussian(1.0), FlatPrior())
    assert iterate_linearized(line, [0.0]).status is Status.converged


def test_targets_outside_memory_are_those_in_memory(tmp_path, teacher_data):
    x, y = teacher_data
    np.save(tmp_path / "y.npy", y)
    outside = np.load(tmp_path / "y.npy", mmap_mode="r")
    inside, mapped = (Posterior(MLP(2, (2,), 1), x, each, Gaussian(0.1), NormalPrior(1.0)) for each in (y, outside))
    for rule in ("gauss-newton", "seed", "levenberg-marquardt"):
        paths = [iterate_linearized(each, np.full(9, 0.3), rule, 5) for each in (inside, mapped)]
        np.testing.assert_allclose(paths[1].rms, paths[0].rms, rtol=1e-9)
