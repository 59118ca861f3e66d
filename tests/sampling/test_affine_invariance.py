"""emcee's stretch move does not feel linear maps of the coordinates: a metric would be idle there."""

import emcee
import numpy as np

from tests.statistical import GaussianTarget


def chain(log_prob, start, n_steps):
    sampler = emcee.EnsembleSampler(*start.shape, log_prob, moves=emcee.moves.StretchMove(), vectorize=True)
    sampler._random = np.random.RandomState(3)  # emcee offers no seed but the global one
    sampler.run_mcmc(start, n_steps, skip_initial_state_check=True)
    return sampler.get_chain()


def test_the_stretch_move_makes_the_same_chain_in_whitened_coordinates():
    # Goodman & Weare (2010), section 2. Walkers are stretched about each other, and rounding with them, tenfold every
    # 45 steps or so: 200 steps leave 1e-11.
    target = GaussianTarget(k=5, condition=1e4)
    start = target.draw(40, seed=0)
    raw = chain(target.log_prob, start, 200)
    white = chain(lambda z: target.log_prob(target.mean + z @ target.lower.T), target.whiten(start), 200)
    back = target.mean + white @ target.lower.T
    scale = np.sqrt(np.diag(target.covariance))
    assert np.abs((back - raw) / scale).max() < 1e-8
    assert np.ptp(raw[:, 0], axis=0).min() > 0  # it moved
