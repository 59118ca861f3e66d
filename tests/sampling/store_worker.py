"""A run that other processes kill: ``python -m tests.sampling.store_worker FOLDER`` says "begun", and each commit."""

import resource
import sys
import tempfile

import numpy as np

import bayesnn.sampling.run as run_module
from bayesnn.laplace import fit_laplace
from bayesnn.models import MLP
from bayesnn.optimum import find_optimum
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.sampling import sample
from bayesnn.sampling.store import ChainStore

ARGUMENTS = {"num_chains": 8, "num_warmup": 300, "num_samples": 6000, "seed": 5, "progress": False}


def target():
    rng = np.random.default_rng(3)
    x = rng.standard_normal((300, 3))
    y = np.tanh(x @ np.array([1.0, -0.5, 0.3])) + 0.2 * rng.standard_normal(300)
    posterior = Posterior(MLP(3, (4,), 1), x, y, Gaussian(0.2), NormalPrior(1.0))
    return fit_laplace(posterior, find_optimum(posterior, n_starts=2, seed=0))


def say(word):
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def commit_often():
    """Commit at every step for which the disk leaves time."""
    run_module.COMMIT_EVERY, run_module.COMMIT_SHARE = 0.0, 0.5


if __name__ == "__main__":
    commit_often()
    laplace = target()
    with tempfile.TemporaryDirectory() as folder:  # reads the kernel and zarr from disk, which kills would mostly hit
        sample(laplace, **ARGUMENTS | {"num_samples": 4}, store=folder)
    if len(sys.argv) > 2:  # no file may grow beyond this: what a full disk does
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    commit = ChainStore.commit

    def told(*arguments):
        commit(*arguments)
        say("committed")

    ChainStore.commit = told
    say("begun")
    sample(laplace, **ARGUMENTS, store=sys.argv[1])
    sys.stdout.write("finished\n")
