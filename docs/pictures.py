"""Draw the README's picture from a run's results: ``python docs/pictures.py runs/concrete/results.nc``."""

import sys
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from bayesnn import load_tree
from bayesnn.report.figures import DRAWS, GAUSSIAN
from bayesnn.tree import values_of

PICTURE = Path(__file__).parent / "images" / "concrete.png"


def main(results: str) -> None:
    """Draw sampled predictions, and the direction where Gaussian and draws differ most and least."""
    tree = load_tree(results)
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, middle, right = (figure.add_subplot(1, 3, place) for place in (1, 2, 3))
    observed = values_of(tree, "predictions_constant_data", "y").ravel()
    drawn = values_of(tree, "predictions", "y").reshape(-1, observed.size)
    low, median, high = np.quantile(drawn, [0.05, 0.5, 0.95], axis=0)
    left.vlines(median, low, high, color=DRAWS, alpha=0.3, lw=1.2)
    left.plot(median, observed, "k.", ms=3)
    left.axline((0, 0), slope=1, color="#8a8f98", lw=1)
    left.set(title="held-out strength, 90 % intervals", xlabel="predictive median", ylabel="target")
    along = values_of(tree, "agreement", "along")
    distance = np.abs(along.mean(axis=(0, 1))) + np.abs(np.log(along.std(axis=(0, 1))))
    panels: tuple[tuple[Axes, int, str], ...] = (
        (middle, int(np.argmin(distance)), "where they agree best"),
        (right, int(np.argmax(distance)), "where they agree worst"),
    )
    for axis, direction, title in panels:
        values = along[..., direction].ravel()
        reach = max(4.0, float(np.quantile(np.abs(values), 0.998)))
        grid = np.linspace(-reach, reach, 200)
        axis.hist(values, bins=60, range=(-reach, reach), density=True, color=DRAWS, alpha=0.6, label="draws")
        axis.plot(grid, norm.pdf(grid), color=GAUSSIAN, lw=2, label="Gaussian")
        axis.set(title=title, xlabel="Gaussian sd", yticks=[])
    middle.legend(frameon=False)
    for axis in (left, middle, right):
        axis.spines[["top", "right"]].set_visible(False)
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main(sys.argv[1])
