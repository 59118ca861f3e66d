"""laplace-torch's side of `benchmarks/laplace.py`, run by an environment of its own.

Requests are lines of JSON on standard input, answered by one line each on standard output, after a first line with the
versions. So both sides take turns, with neither's start counted.
"""

import argparse
import json
import platform
import sys
from functools import lru_cache
from importlib.metadata import version
from time import perf_counter
from typing import Any

import numpy as np
import torch
from laplace import Laplace
from laplace.curvature import AsdlGGN, BackPackGGN, CurvlinopsGGN
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BACKENDS = {backend.__name__: backend for backend in (CurvlinopsGGN, BackPackGGN, AsdlGGN)}
PACKAGES = ("laplace-torch", "torch", "numpy", "curvlinops-for-pytorch", "backpack-for-pytorch", "asdfghjkl")


@lru_cache(maxsize=1)
def problem(path: str) -> dict[str, torch.Tensor]:
    """Read inputs, targets and weights."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(array) for name, array in arrays.items()}


def network(arrays: dict[str, torch.Tensor]) -> nn.Sequential:
    """Build the network; torch keeps a layer's matrix as (out, in).

    A new one for every request: backends leave their hooks behind, and some then refuse to work after others.
    """
    (n_inputs, n_hidden), n_outputs = arrays["W1"].shape, arrays["W2"].shape[1]
    net = nn.Sequential(nn.Linear(n_inputs, n_hidden), nn.Tanh(), nn.Linear(n_hidden, n_outputs))
    with torch.no_grad():
        for layer, name in ((net[0], "1"), (net[2], "2")):
            layer.weight.copy_(arrays[f"W{name}"].T)
            layer.bias.copy_(arrays[f"b{name}"])
    return net


def answer(request: dict[str, Any]) -> dict[str, float]:
    """Fit, and time from the trained network to covariance and log marginal likelihood."""
    arrays = problem(request["data"])
    loader = DataLoader(TensorDataset(arrays["x"], arrays["y"]), batch_size=request["batch_size"])
    net, full = network(arrays), request["structure"] == "full"
    begin = perf_counter()
    laplace = Laplace(
        net,
        "regression",
        subset_of_weights="all",
        hessian_structure=request["structure"],
        sigma_noise=request["sigma_noise"],
        prior_precision=request["prior_precision"],
        backend=BACKENDS[request["backend"]],
    )
    laplace.fit(loader)
    covariance = laplace.posterior_covariance if full else laplace.posterior_variance
    evidence = float(laplace.log_marginal_likelihood())
    seconds = perf_counter() - begin
    if request["covariance"] is not None:
        np.save(request["covariance"], covariance.detach().numpy(), allow_pickle=False)
    return {"seconds": seconds, "log_marginal_likelihood": evidence}


def main() -> None:
    """Answer until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    # curvlinops is handed an identity matrix of the default type.
    torch.set_default_dtype(torch.float64)
    # The answers' own way out: libraries print, too.
    answers, sys.stdout = sys.stdout, sys.stderr
    versions = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    print(json.dumps({"versions": versions, "backends": list(BACKENDS)}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
