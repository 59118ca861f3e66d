"""Chains against certified and published moments: NIST's mcmc01 and four posteriors of posteriordb."""

import json
from pathlib import Path

import numpy as np
import pytest

from bayesnn import FlatPrior, FunctionModel, Gaussian, LogDensity, Posterior, find_optimum, fit_laplace, sample
from bayesnn.diagnostics.convergence import ess, rhat

DATA = Path(__file__).parent.parent / "data"
RUN = {"num_chains": 16, "num_warmup": 400, "num_samples": 1500, "seed": 1}


def read(name):
    return json.loads((DATA / name).read_text())


def assert_moments(draws, means, sds, error_of_means=0.0, error_of_sds=0.0):
    """Means within 4 Monte-Carlo errors, of theirs too; sds within 5 %; R-hat below 1.01."""
    for i, (mean, sd) in enumerate(zip(means, sds, strict=True)):
        mine = draws[..., i]
        error = np.hypot(mine.std() / np.sqrt(ess(mine).min()), np.broadcast_to(error_of_means, len(means))[i])
        assert abs(mine.mean() - mean) < 4.0 * error
        assert abs(mine.std() / sd - 1.0) < 0.05 + error_of_sds
    assert rhat(draws).max() < 1.01


def regression(design, y, log_prior_of_sigma):
    """Return the posterior of y ~ N(X beta, exp(s)), flat in beta, and the prior of sigma given, as a LogDensity."""
    X, k = np.asarray(design, dtype=float), np.shape(design)[1]

    def density(w):
        s = w[:, k]
        residuals = y - w[:, :k] @ X.T
        prior, _ = log_prior_of_sigma(np.exp(s))
        return -0.5 * (residuals**2).sum(axis=1) * np.exp(-2 * s) - len(y) * s + prior + s

    def gradient(w):
        s = w[:, k]
        residuals = y - w[:, :k] @ X.T
        _, slope = log_prior_of_sigma(np.exp(s))
        by_beta = (residuals @ X) * np.exp(-2 * s)[:, None]
        by_s = (residuals**2).sum(axis=1) * np.exp(-2 * s) - len(y) + slope * np.exp(s) + 1.0
        return np.column_stack([by_beta, by_s])

    beta = np.linalg.lstsq(X, y)[0]
    start = np.append(beta, 0.5 * np.log(np.mean((y - X @ beta) ** 2)))
    return density, gradient, start


def flat(sigma):
    return np.zeros_like(sigma), np.zeros_like(sigma)


def half_cauchy(sigma):
    return -np.log1p((sigma / 2.5) ** 2), -2.0 * sigma / (2.5**2 + sigma**2)


def ar_of(data):
    y = np.array(data["y"])
    lags = [y[5 - lag : len(y) - lag] for lag in range(1, 6)]
    return np.column_stack([np.ones(len(y) - 5), *lags]), y[5:], half_cauchy


def earnings_of(data):
    height, male = np.array(data["height"]), np.array(data["male"])
    return np.column_stack([np.ones(len(male)), height, male, height * male]), np.log(data["earn"]), flat


def kidiq_of(data):
    return (
        np.column_stack([np.ones(data["N"]), data["mom_hs"], data["mom_iq"]]),
        np.array(data["kid_score"]),
        half_cauchy,
    )


def mesquite_of(data):
    d1, d2, canopy, total = (np.array(data[key]) for key in ("diam1", "diam2", "canopy_height", "total_height"))
    columns = [
        np.ones(len(d1)),
        np.log(d1 * d2 * canopy),
        np.log(d1 * d2),
        np.log(d1 / d2),
        np.log(total),
        data["group"],
    ]
    return np.column_stack(columns), np.log(data["weight"]), flat


POSTERIORDB = {
    "arK-arK": ("data-arK", ar_of),
    "earnings-logearn_interaction": ("data-earnings", earnings_of),
    "kidiq-kidscore_momhsiq": ("data-kidiq", kidiq_of),
    "mesquite-logmesquite_logvash": ("data-mesquite", mesquite_of),
}


@pytest.mark.parametrize("name", POSTERIORDB)
@pytest.mark.parametrize("reference", ["exact_here", "reference_from_draws"])
def test_posteriordb(name, reference):
    file, of = POSTERIORDB[name]
    posterior = read(f"posteriordb/{name}.json")
    density, gradient, start = regression(*of(read(f"posteriordb/{file}.json")))
    if name == "arK-arK":  # alpha and beta have normal priors of standard deviation 10

        def with_prior(w, density=density):
            return density(w) - 0.005 * (w[:, :6] ** 2).sum(axis=1)

        def its_gradient(w, gradient=gradient):
            return gradient(w) - np.column_stack([0.01 * w[:, :6], np.zeros(len(w))])

    else:
        with_prior, its_gradient = density, gradient
    target = LogDensity(with_prior, posterior["param_names"], its_gradient, start, vectorized=True)
    found = find_optimum(target, start=start)
    assert found.certificate.is_optimum, found.certificate.reasons
    tree = sample(fit_laplace(target, found, curvature="hessian"), **RUN)
    draws = np.stack([tree["posterior"][each].values for each in posterior["param_names"]], axis=-1)
    draws[..., -1] = np.exp(draws[..., -1])
    of_reference = posterior[reference]
    # the reference draws, 10 000 almost independent ones, have errors of their own: of sds 1 / sqrt(2 * 10 000)
    is_drawn = reference == "reference_from_draws"
    errors = (of_reference["mcse_mean"], 4.0 / np.sqrt(20_000)) if is_drawn else (0.0, 0.0)
    assert_moments(draws, of_reference["mean"], of_reference["sd"], *errors)


def test_mcmc01_of_nist():
    # eight equal leading digits; a prior flat in log sigma is the one of the certified posterior, 1 / sigma
    case = read("mcmc01.json")
    y = np.array([float(text) for text in case["data_str"]])
    model = FunctionModel(lambda w, x: w[0] + 0 * x, ["mu"], lambda w, x: np.ones((len(x), 1)))
    posterior = Posterior(model, np.zeros(len(y)), y, Gaussian("infer"), FlatPrior())
    laplace = fit_laplace(posterior, find_optimum(posterior, start=[case["lead"], -2.0]))
    tree = sample(laplace, **RUN)
    certified = case["certified_minus_lead"]
    mu = tree["posterior"]["mu"].values - case["lead"]
    sigma = np.exp(tree["posterior"]["log_sigma_noise"].values)
    both = [certified["mu_minus_lead"], certified["sigma"]]
    assert_moments(np.stack([mu, sigma], axis=-1), [c["mean"] for c in both], [c["sd"] for c in both])
    for values, of_nist in zip((mu, sigma), both, strict=True):
        for share, key in [(0.025, "q025"), (0.5, "q500"), (0.975, "q975")]:
            below = (values < of_nist[key]).astype(float)
            error = below.std() / np.sqrt(ess(below).min())
            assert abs(below.mean() - share) < 4.0 * error
