"""bayesnn on one regression problem, in a process of its own; run by ``airfoil_bde.py``.

Chains start where training is stopped early, travel into the bulk of the posterior and are then drawn from by the same
unadjusted move. What is written is what ``peers/bde_run.py`` writes of bde.
"""

import json
import os
import sys
import time

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])


def main() -> None:
    """Sample and predict; write means and standard deviations (members, draws, m), and times."""
    request = json.load(sys.stdin)
    how, seed = request["settings"], request["seed"]
    with np.load(request["problem"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    import emcee

    import bayesnn as bnn
    from bayesnn.sampling import early_stopped, journey, moves

    net = bnn.MLP(arrays["x"].shape[1], how["hidden"], 2, activation=how["activation"])
    prior = bnn.NormalPrior(how["prior_precision"])
    posterior = bnn.Posterior(net, arrays["x"], arrays["y"], bnn.HeteroscedasticGaussian(), prior)
    begin = time.time()
    starts = early_stopped(posterior, how["members"], seed=seed)
    started = time.time()
    way = journey(
        posterior,
        starts,
        num_steps=how["journey_steps"],
        energy_variance=tuple(how["energy_variance"]),
        seed=seed,
        progress=False,
    )
    arrived = time.time()
    fused, shape = posterior.fused(), starts.shape
    move = moves.MicrocanonicalLangevin(fused, np.ones(shape[1]), float(np.median(way.step_size)), how["thinning"])
    sampler = emcee.EnsembleSampler(*shape, fused.log_density, moves=move, vectorize=True)
    state = emcee.State(way.ends, random_state=np.random.RandomState(seed).get_state())
    sampler.run_mcmc(state, how["draw_steps"] // how["thinning"], skip_initial_state_check=True)
    drawn = time.time()
    outputs = np.stack([net.predict(chain, arrays["new_x"]) for chain in sampler.get_chain().transpose(1, 0, 2)])
    np.savez(request["found"], mean=outputs[..., 0], sd=np.exp(outputs[..., 1]))
    end = time.time()
    figures = {
        "ready": begin - BEGAN,
        "starts": started - begin,
        "journey": arrived - started,
        "drawing": drawn - arrived,
        "seconds": end - BEGAN,
        "energy_variance": float(move.seen().mean()),
        "log_density": float(sampler.get_log_prob().mean()),
        "distance": float(way.distance.mean()),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
