"""Draw the pictures of hard-posteriors.md: ``python docs/hard_pictures.py``, half a minute on two cores.

The first is of ``hard.json`` and ``hard_more_peers.json`` of ``benchmarks/results``, each of one machine; the second
samples yacht 6-3-1 with and without replica exchange.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import bayesnn as bnn
from bayesnn.report.figures import DRAWS, GAUSSIAN

FOLDER = Path(__file__).parent
IMAGES, RESULTS = FOLDER / "images", FOLDER.parent / "benchmarks" / "results"
sys.path.insert(0, str(FOLDER.parent / "benchmarks"))
OURS = "bayesnn"


def beside_peers() -> None:
    """Worst R-hat of held-out outputs, ours and each peer's, entry by entry."""
    files: list[list[dict[str, Any]]] = [
        json.loads((RESULTS / name).read_text(encoding="utf-8"))["results"]
        for name in ("hard.json", "hard_more_peers.json")
    ]
    labels = [f"{result['problem']}, noise {result['noise']}" for result in files[0]]
    figure = Figure(figsize=(8, 0.9 + 0.5 * len(labels)), layout="constrained")
    axis = figure.add_subplot()
    for machine, results in enumerate(files):
        fill = {"fillstyle": "full" if machine == 0 else "none"}
        of_machine = ("", ", the slower machine")[machine]
        for count, result in enumerate(results):
            rows = {name: row for name, row in result["samplers"].items() if row is not None}
            place = labels.index(f"{result['problem']}, noise {result['noise']}") + 0.2 * machine - 0.1
            peers = [row["rhat"] - 1.0 for name, row in rows.items() if name != OURS]
            label = f"peers{of_machine}" if count == 0 else None
            axis.plot(peers, np.full(len(peers), place), "o", color=GAUSSIAN, label=label, **fill)
            if OURS in rows:
                label = f"{OURS}{of_machine}" if count == 0 else None
                axis.plot(rows[OURS]["rhat"] - 1.0, place, "D", color=DRAWS, label=label, **fill)
    axis.axvline(0.05, color="#8a8f98", lw=1)
    axis.set(xscale="log", xlabel="worst R-hat of held-out outputs after 120 s, less 1", yticks=range(len(labels)))
    axis.set_yticklabels(labels)
    axis.invert_yaxis()
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "hard_rhat.png", dpi=110, metadata={"Software": None})


def crossing() -> None:
    """One held-out output of every chain, kept to its mode and crossing."""
    from hard import problem_of  # of the benchmarks

    arrays = problem_of("yacht 6-3-1", infer=False)
    net = bnn.MLP(arrays["x"].shape[1], (3,), 1)
    prior = bnn.NormalPrior(float(arrays["prior_precision"]))
    posterior = bnn.Posterior(net, arrays["x"], arrays["y"], bnn.Gaussian(float(arrays["sigma"])), prior)
    laplaces = [bnn.fit_laplace(posterior, weights) for weights in arrays["optima"][:4]]
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    kept = bnn.sample(laplaces, move="marginal_hmc", num_chains=8, num_warmup=300, num_samples=1000, progress=False)
    crossed = bnn.sample(laplaces, num_warmup=300, num_samples=1000, progress=False)
    titles = ("chains that keep to their modes", "replica exchange and jumps")
    worst = -1
    for place, (tree, title) in enumerate(zip((kept, crossed), titles, strict=True)):
        shape = tree["sample_stats"]["lp"].shape
        names = [block.name for block in posterior.model.weight_blocks]
        weights = np.concatenate([tree["posterior"][name].values.reshape(*shape, -1) for name in names], axis=2)
        outputs = net.predict(weights.reshape(-1, posterior.n_weights), arrays["new_x"]).reshape(*shape, -1)
        spread = outputs.mean(axis=1).std(axis=0)
        axis = figure.add_subplot(1, 2, place + 1)
        worst = int(np.argmax(spread)) if worst < 0 else worst
        for chain in outputs[..., worst]:
            axis.plot(chain, lw=0.6, alpha=0.8)
        axis.set(title=title, xlabel="draw", ylabel="the output that differs most")
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(IMAGES / "hard_crossing.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    beside_peers()
    crossing()
