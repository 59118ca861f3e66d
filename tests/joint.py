"""Tests of a sampler against the joint law of weights and data: simulation-based calibration, and Geweke's.

Many replicates at once: every walker has data of its own, drawn from weights of its own, drawn from the prior, which
are therefore an exact draw from that walker's posterior. No burn-in, no thinning, and nothing is approximate.
"""

import numpy as np
from emcee.model import Model
from emcee.state import State
from scipy.stats import chi2, chisquare, kstest, norm

from bayesnn import MLP

NET = MLP(1, (2,), 1)
X = np.linspace(-1.5, 1.5, 6)[:, None]
SIGMA = 0.4
NEW_X = np.array([[-1.0], [0.3], [2.0]])
# p-values below this are failures: a dozen statistics of a right sampler pass it but once in 10 000 seeds
LEAST_P = 1e-5


class Replicates:
    """Posteriors of one network under as many data sets: log density and gradient for walkers (m, k)."""

    def __init__(self, y):
        self.y = y

    @staticmethod
    def drawn(weights, rng):
        outputs = NET.predict(weights, X)
        return Replicates(outputs + SIGMA * rng.standard_normal(outputs.shape))

    def log_likelihood(self, w):
        return -0.5 * (((self.y - NET.predict(w, X)) / SIGMA) ** 2).sum(axis=(1, 2))

    def log_prob(self, w):
        return self.log_likelihood(w) - 0.5 * (w**2).sum(axis=1)

    def value_and_gradient(self, w):
        outputs, pullback = NET.vjp(w, X)
        residuals = (self.y - outputs) / SIGMA
        value = -0.5 * (residuals**2).sum(axis=(1, 2)) - 0.5 * (w**2).sum(axis=1)
        return value, pullback(residuals / SIGMA) - w

    def advance(self, move, w, random, n_steps):
        """Weights (n_steps, m, k) after each of so many steps."""
        model = Model(self.log_prob, lambda points: (self.log_prob(points), None), map, random)
        state = State(w.copy(), log_prob=self.log_prob(w), copy=True)
        path = []
        for _ in range(n_steps):
            state, _ = move.propose(model, state)
            path.append(state.coords.copy())
        return np.array(path)


class ReplicateMarginals:
    """The same with the output layer integrated out, by the formulas of the linear model."""

    kept = np.arange(4)

    def __init__(self, replicates):
        self.y = replicates.y[..., 0]
        self.replicates = replicates

    def _solved(self, kept):
        h = np.tanh(kept[:, None, :2] * X + kept[:, None, 2:])
        features = np.concatenate([h, np.ones((*h.shape[:2], 1))], axis=2)
        precision = features.swapaxes(1, 2) @ features / SIGMA**2 + np.eye(3)
        mean = np.linalg.solve(precision, (features.swapaxes(1, 2) @ self.y[..., None]) / SIGMA**2)[..., 0]
        return h, features, precision, mean

    def __call__(self, kept):
        h, features, precision, mean = self._solved(kept)
        fitted = np.einsum("wi,wij,wj->w", mean, precision, mean)
        value = -0.5 * ((self.y**2).sum(axis=1) / SIGMA**2 - fitted) - 0.5 * np.linalg.slogdet(precision)[1]
        residual = self.y - (features @ mean[..., None])[..., 0]
        pull = (residual[..., None] * mean[:, None] - features @ np.linalg.inv(precision)) / SIGMA**2
        by_sum = pull[..., :2] * (1.0 - h**2)
        gradient = np.concatenate([(by_sum * X).sum(axis=1), by_sum.sum(axis=1)], axis=1)
        return value - 0.5 * (kept**2).sum(axis=1), gradient - kept

    def log_density(self, kept):
        if kept.ndim == 3:  # several points (walkers, points, 4) under each walker's data
            return np.stack([self(points)[0] for points in kept.swapaxes(0, 1)], axis=1)
        return self(kept)[0]

    unit_places, units_are_odd, units_are_alike = np.array([[0, 1], [2, 3]]), True, True
    # of each of the two units its weight and its bias
    unit_prior_precision, unit_prior_mean = np.ones((2, 2)), np.zeros((2, 2))

    def step_units(self, kept, log_density, steps):
        walkers, accepted = np.arange(len(kept)), np.zeros(steps.units.shape, dtype=bool)
        for step in range(steps.units.shape[1]):
            unit, move = steps.units[:, step], steps.moves[:, step]
            places = np.stack([unit, unit + 2], axis=1)
            new, fresh = kept.copy(), steps.is_fresh[:, step]
            new[walkers[:, None], places] = np.where(fresh[:, None], move, kept[walkers[:, None], places] + move)
            value = self.log_density(new)
            prior = 0.5 * ((kept**2).sum(axis=1) - (new**2).sum(axis=1))
            accepted[:, step] = value - log_density - fresh * prior > steps.thresholds[:, step]
            kept = np.where(accepted[:, step, None], new, kept)
            log_density = np.where(accepted[:, step], value, log_density)
        return kept, log_density, accepted

    def complete(self, kept):
        return np.concatenate([kept, self._solved(kept)[3]], axis=1)

    def precision_of(self, precision):
        return np.linalg.inv(np.linalg.inv(precision)[:4, :4])

    def draw(self, kept, random):
        _, _, precision, mean = self._solved(kept)
        lower = np.linalg.cholesky(precision)
        deviations = np.linalg.solve(lower.swapaxes(1, 2), random.standard_normal(mean.shape)[..., None])[..., 0]
        weights = np.concatenate([kept, mean + deviations], axis=1)
        return weights, self.replicates.log_prob(weights)


def functions_of(replicates, w):
    """What is ranked: log likelihood, log prior, predictions, none of which a symmetry changes, and one weight."""
    predictions = NET.predict(w, NEW_X)[..., 0]
    return np.column_stack([replicates.log_likelihood(w), (w**2).sum(axis=1), predictions, w[:, 0]])


def check_calibration(make, n_replicates=1000, n_draws=19, seed=0):
    """Rank the weights that made the data among the draws of a chain through them, at a place drawn at random.

    A reversible chain in equilibrium may be run forward and backward from any of its states; the rank of the state at a
    random place is uniform, whatever the autocorrelation (Besag & Clifford 1989, Biometrika 76, 633; Talts, Betancourt,
    Simpson, Vehtari & Gelman 2018). Walkers must not share random choices, or ranks of different replicates depend on
    each other.
    """
    rng, random = np.random.default_rng(seed), np.random.RandomState(seed)
    truth = rng.standard_normal((n_replicates, NET.n_weights))
    replicates = Replicates.drawn(truth, rng)
    ahead = replicates.advance(make(replicates), truth, random, n_draws)
    behind = replicates.advance(make(replicates), truth, random, n_draws)
    place = rng.integers(0, n_draws + 1, n_replicates)  # draws before the truth
    own = functions_of(replicates, truth)
    below, ties = np.zeros(own.shape), np.zeros(own.shape)
    for path, count in ((behind, place), (ahead, n_draws - place)):
        for i, weights in enumerate(path):
            counts = (i < count)[:, None]
            values = functions_of(replicates, weights)
            below += counts & (values < own)
            ties += counts & (values == own)
    ranks = below + np.floor(rng.random(own.shape) * (ties + 1.0))
    for j in range(own.shape[1]):
        seen = np.bincount(ranks[:, j].astype(int), minlength=n_draws + 1)
        p = chisquare(seen).pvalue
        assert p > LEAST_P, f"ranks of function {j} are not uniform: p = {p:.2g}, {seen}"


def check_joint(make, n_replicates=1000, n_rounds=30, seed=0):
    """Alternate steps of the sampler and new data: the joint law is kept (Geweke 2004, JASA 99, 799).

    Weights must keep their prior's law, and residuals, after the sampler has moved the weights, the noise's.
    """
    rng, random = np.random.default_rng(seed), np.random.RandomState(seed)
    weights = rng.standard_normal((n_replicates, NET.n_weights))
    for _ in range(n_rounds):
        replicates = Replicates.drawn(weights, rng)
        weights = replicates.advance(make(replicates), weights, random, 1)[-1]
    for i in range(NET.n_weights):
        p = kstest(weights[:, i], norm.cdf).pvalue
        assert p > LEAST_P, f"{NET.weight_names[i]} has not kept its prior: p = {p:.2g}, sd {weights[:, i].std():.3f}"
    p = kstest(-2.0 * replicates.log_likelihood(weights), chi2(len(X)).cdf).pvalue
    assert p > LEAST_P, f"residuals have not kept the law of the noise: p = {p:.2g}"
    # walkers are independent, and so are their weights
    lengths = (weights**2).sum(axis=1)
    off = (lengths.mean() - NET.n_weights) / np.sqrt(2.0 * NET.n_weights / n_replicates)
    assert abs(off) < 4.5, f"square lengths {lengths.mean():.3f}, wants {NET.n_weights} ({off:.1f} se)"
