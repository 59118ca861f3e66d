"""``bayesnn.sample`` on one posterior in a process of its own, from the data to the tree; run by ``sampling.py``.

All is counted from the start of the process: imports, the optimum and its certificate, the Gaussian, what is compiled
(read from the disk), warm-up, draws, and the tree with everything ArviZ wants.
"""

import json
import os
import sys
import time

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])


def main() -> None:
    """Run; write draws and times."""
    request = json.load(sys.stdin)
    with np.load(request["problem"], allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    import bayesnn as bnn
    from bayesnn.sampling.chains import Recorder

    moments: list[float] = []
    add = Recorder.add

    def timed(self: Recorder, *arguments: object) -> None:
        add(self, *arguments)  # type: ignore[arg-type]
        moments.append(time.time())

    Recorder.add = timed  # when draws were made
    net = bnn.MLP(arrays["x"].shape[1], (int(arrays["hidden"]),), 1)
    prior = bnn.NormalPrior(float(arrays["prior_precision"]))
    posterior = bnn.Posterior(net, arrays["x"], arrays["y"], bnn.Gaussian(float(arrays["sigma"])), prior)
    optimum = bnn.find_optimum(posterior, n_starts=64, seed=request["seed"], progress=False)
    laplace = bnn.fit_laplace(posterior, optimum)
    tree = bnn.sample(laplace, seed=request["seed"], num_samples=request["num_samples"], progress=False)
    end = time.time()
    draws = np.concatenate(
        [
            tree["posterior"][name].values.reshape(*tree["sample_stats"]["lp"].shape, -1)
            for name in ("W1", "b1", "W2", "b2")
        ],
        axis=2,
    )
    np.savez(request["found"], weights=draws)
    drawing = (moments[-1] - moments[0]) * len(moments) / (len(moments) - 1)
    settings = {"metric": tree["pilot"].attrs["metric"], "length": int(tree["pilot"].attrs["length"])}
    ready = moments[-1] - drawing - BEGAN
    print(json.dumps({"ready": ready, "drawing": drawing, "after": end - moments[-1], **settings}))


if __name__ == "__main__":
    main()
