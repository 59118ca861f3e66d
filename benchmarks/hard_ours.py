"""``bayesnn.sample`` on one hard posterior until the time is over, in a process of its own; run by ``hard.py``."""

import json
import os
import signal
import sys
import time

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])
# More than there is time for.
NUM_SAMPLES = 20_000


def main() -> None:
    """Run; write draws and times."""
    request = json.load(sys.stdin)
    with np.load(request["problem"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    import bayesnn as bnn

    net = bnn.MLP(arrays["x"].shape[1], (int(arrays["hidden"]),), 1)
    sigma = float(arrays["sigma"])
    likelihood = bnn.Gaussian("infer" if np.isnan(sigma) else sigma)
    prior = bnn.NormalPrior(float(arrays["prior_precision"]))
    posterior = bnn.Posterior(net, arrays["x"], arrays["y"], likelihood, prior)
    laplaces = [bnn.fit_laplace(posterior, weights) for weights in arrays["optima"]]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(1.0, request["until"] - (time.time() - BEGAN)))
    begin = time.time()
    tree = bnn.sample(laplaces, seed=request["seed"], num_samples=NUM_SAMPLES, progress=False, **request.get("how", {}))
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    shape = tree["sample_stats"]["lp"].shape
    names = [block.name for block in posterior.model.weight_blocks]
    draws = np.concatenate([tree["posterior"][name].values.reshape(*shape, -1) for name in names], axis=2)
    np.savez(request["found"], weights=draws)
    pilot = tree["pilot"].attrs if "pilot" in tree.children else {"metric": "", "length": 0}
    settings = {"metric": str(pilot["metric"]), "length": int(pilot["length"])}
    print(json.dumps({"ready": begin - BEGAN, "drawing": time.time() - begin, **settings}))


if __name__ == "__main__":
    main()
