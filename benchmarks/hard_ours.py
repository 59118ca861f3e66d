"""``bayesnn.sample`` on one hard posterior until the time is over, in a process of its own; run by ``hard.py``."""

import json
import os
import signal
import sys
import time

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])
# A first run of so few steps tells how long they take; warm-up then has a share of the time that is left.
TRIAL, WARMUP_SHARE, LEAST_WARMUP = 4, 0.25, 60


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
    how = {"seed": request["seed"], "progress": False, **request.get("how", {})}
    bnn.sample(laplaces, num_warmup=0, num_samples=TRIAL, **how)  # loads or compiles what there is
    begin = time.time()
    bnn.sample(laplaces, num_warmup=0, num_samples=TRIAL, **how)
    step = (time.time() - begin) / TRIAL
    left = request["until"] - (time.time() - BEGAN)
    num_warmup = max(LEAST_WARMUP, int(WARMUP_SHARE * left / step))
    num_samples = max(4, int(2.0 * left / step))  # more than there is time for
    signal.setitimer(signal.ITIMER_REAL, max(1.0, left))
    begin = time.time()
    tree = bnn.sample(laplaces, num_warmup=num_warmup, num_samples=num_samples, **how)
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    shape = tree["sample_stats"]["lp"].shape
    names = [block.name for block in posterior.model.weight_blocks]
    draws = np.concatenate([tree["posterior"][name].values.reshape(*shape, -1) for name in names], axis=2)
    np.savez(request["found"], weights=draws)
    pilot = tree["pilot"].attrs if "pilot" in tree.children else {"metric": "", "length": 0}
    settings = {"metric": str(pilot["metric"]), "length": int(pilot["length"]), "warmup": num_warmup}
    if "tempering" in tree.children:
        tempering = tree["tempering"]
        settings["round_trips"] = tempering["round_trips"].values.tolist()
        settings["barrier"] = float(tempering.attrs["barrier"])
    print(json.dumps({"ready": begin - BEGAN, "drawing": time.time() - begin, **settings}))


if __name__ == "__main__":
    main()
