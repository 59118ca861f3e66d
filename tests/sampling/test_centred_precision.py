"""Draws of inferred prior precisions given the weights."""

import numpy as np
import pytest
from emcee import EnsembleSampler
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm

from bayesnn import MLP, Gaussian, NormalPrior, Posterior, find_optimum, fit_laplace, moves, sample
from bayesnn.chain_statistics import ess
from tests.refusals import refuses

HYPERPRIOR = (0.4, 1.3)


def posterior_of(net, kind="infer", sigma=0.5, n=12, mean=0.25):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((n, 2))
    y = x @ np.array([[0.4], [-0.2]]) + sigma * rng.standard_normal((n, 1))
    prior = NormalPrior(kind, prior_mean=mean, log_precision_prior=HYPERPRIOR)
    return Posterior(net, x, y, Gaussian(sigma), prior)


def moments(density, centre, width):
    """Mean and mean square of a density of one variable."""
    ends = (centre - 12 * width, centre + 12 * width)
    height = density(centre)
    mass, mean, square = (quad(lambda t, p=p: t**p * np.exp(density(t) - height), *ends)[0] for p in range(3))
    return mean / mass, square / mass


@pytest.mark.parametrize("kind", ["infer", "infer_by_layer"])
def test_draws_are_those_of_the_precisions_given_the_weights(kind):
    post = posterior_of(MLP(2, (3,), 1), kind)
    k, n_groups = 13, 2 if kind == "infer_by_layer" else 1
    point = np.random.default_rng(1).standard_normal(post.n_weights)
    weights = post.network_weights(point)
    sampler = EnsembleSampler(200, post.n_weights, post.log_density, moves=moves.CentredPrecision(post), vectorize=True)
    sampler._random = np.random.RandomState(3)
    sampler.run_mcmc(np.tile(point, (200, 1)), 60, skip_initial_state_check=True)
    chain = sampler.get_chain()[10:].swapaxes(0, 1)
    assert np.allclose(post.network_weights(chain[:, -1]), weights, rtol=1e-12, atol=1e-12)
    assert np.allclose(sampler.get_log_prob(), post.log_density(sampler.get_chain()), rtol=1e-10)
    groups = np.repeat([0, 1], [9, 4]) if kind == "infer_by_layer" else np.zeros(k, dtype=int)
    for group in range(n_groups):
        off = weights[groups == group] - 0.25

        def density(t, off=off):
            return norm.logpdf(off, scale=np.exp(-0.5 * t)).sum() + norm.logpdf(t, *HYPERPRIOR)

        draws = chain[..., k + group]
        for got, expected in zip((draws, draws**2), moments(density, draws.mean(), draws.std()), strict=True):
            assert abs(got.mean() - expected) < 4.5 * got.std() / np.sqrt(ess(got).min())


def line():
    """A linear model, whose weights can be integrated out, with data that say much about them."""
    post = posterior_of(MLP(2, (), 1, bias=False), sigma=0.05, n=40, mean=0.0)

    def log_density(t):
        covariance = 0.05**2 * np.eye(40) + post.x @ post.x.T * np.exp(-t)
        return multivariate_normal(np.zeros(40), covariance).logpdf(post.y[:, 0]) + norm.logpdf(t, *HYPERPRIOR)

    return post, log_density


def mixed(move, post, laplace):
    hmc = moves.HMC(post.fused(), laplace.posterior_covariance, num_integration_steps=8)
    tree = sample(laplace, num_chains=16, num_warmup=200, num_samples=800, move=moves.Mixture([hmc, move]), seed=4)
    return tree["posterior"]["log_prior_precision"].values


def off_by(draws, log_density):
    """Errors of the mean and the mean square, in standard errors."""
    exact = moments(log_density, HYPERPRIOR[0], 0.5 * HYPERPRIOR[1])
    return [
        (got.mean() - expected) / (got.std() / np.sqrt(ess(got).min()))
        for got, expected in zip((draws, draws**2), exact, strict=True)
    ]


def test_in_turns_with_hmc_it_draws_from_the_posterior():
    post, log_density = line()
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    assert np.abs(off_by(mixed(moves.CentredPrecision(post), post, laplace), log_density)).max() < 4.0


def test_a_conditional_that_forgets_the_volume_fails(monkeypatch):
    post, log_density = line()
    laplace = fit_laplace(post, find_optimum(post, seed=0))

    def forgetful(self, log_precision, squares):
        return -0.5 * (np.exp(log_precision) * squares + self._precision * (log_precision - self._mean) ** 2)

    monkeypatch.setattr(moves.CentredPrecision, "_log_density", forgetful)
    assert np.abs(off_by(mixed(moves.CentredPrecision(post), post, laplace), log_density)).max() > 8.0


def test_weights_that_are_all_zero_leave_the_hyperprior():
    post = posterior_of(MLP(2, (), 1, bias=False), mean=0.0)
    move = moves.CentredPrecision(post)
    mode, scale = move._mode(np.zeros((1, 1)))
    # N(t; mu, s) e^(n t / 2) is a normal moved by n s^2 / 2
    assert np.allclose(mode, HYPERPRIOR[0] + HYPERPRIOR[1] ** 2 * 2 / 2)
    assert np.allclose(scale, HYPERPRIOR[1])


def test_it_goes_on_from_a_store(tmp_path):
    post, _ = line()
    laplace = fit_laplace(post, find_optimum(post, seed=0))
    hmc = moves.HMC(post.fused(), laplace.posterior_covariance, num_integration_steps=4)
    how = {"num_chains": 4, "num_warmup": 20, "seed": 1, "move": moves.Mixture([hmc, moves.CentredPrecision(post)])}
    sample(laplace, **how, num_samples=8, store=tmp_path)
    gone_on = sample(laplace, **how, num_samples=20, store=tmp_path)
    assert gone_on["posterior"].identical(sample(laplace, **how, num_samples=20)["posterior"])


def test_arguments_are_refused():
    post = posterior_of(MLP(2, (), 1))
    fixed = Posterior(MLP(2, (), 1), post.x, post.y, Gaussian(0.5), NormalPrior(1.0))
    with refuses("posterior", "Posterior", "one whose prior precision is inferred"):
        moves.CentredPrecision(fixed)
    with refuses("num_tries", "0", "at least 1"):
        moves.CentredPrecision(post, 0)
    sampler = EnsembleSampler(4, 2, lambda w: -(w**2).sum(-1), moves=moves.CentredPrecision(post), vectorize=True)
    with refuses("posterior", "4 coordinates", "2"):
        sampler.run_mcmc(np.zeros((4, 2)), 1, skip_initial_state_check=True)
