"""JAX's side of `benchmarks/fused.py`, run by an environment of its own.

Requests are lines of JSON on standard input, answered by one line each on standard output, after a first line with the
versions. So both sides take turns, with neither's start nor compilation counted.
"""

import json
import platform
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from itertools import pairwise
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

type Function = Callable[[Any], tuple[Any, Any]]


def layers_of(weights: Any, widths: tuple[int, ...]) -> list[tuple[Any, Any]]:
    """Cut weights (..., k) into matrices (..., in, out) and biases (..., out)."""
    layers, start = [], 0
    for fan_in, fan_out in pairwise(widths):
        matrix = weights[..., start : start + fan_in * fan_out].reshape(*weights.shape[:-1], fan_in, fan_out)
        start += fan_in * fan_out
        layers.append((matrix, weights[..., start : start + fan_out]))
        start += fan_out
    return layers


def log_density(weights: Any, x: Any, y: Any, request: dict[str, Any]) -> Any:
    """Log posterior (...) at weights (..., k), as a JAX user writes it: also of many chains without vmap."""
    layers = layers_of(weights, tuple(request["widths"]))
    h = x
    for i, (matrix, bias) in enumerate(layers):
        h = h @ matrix + bias[..., None, :]
        h = jnp.tanh(h) if i + 1 < len(layers) else h
    sigma, precision = request["sigma"], request["prior_precision"]
    square = jnp.sum((y - h) ** 2, axis=(-2, -1)) / sigma**2
    likelihood = -0.5 * square - y.size * (jnp.log(sigma) + 0.5 * jnp.log(2 * jnp.pi))
    k = weights.shape[-1]
    prior = -0.5 * precision * jnp.sum(weights**2, axis=-1) + 0.5 * k * jnp.log(precision / (2 * jnp.pi))
    return likelihood + prior


@lru_cache(maxsize=4)
def problem(text: str) -> tuple[dict[str, Function], Any]:
    """Compile both ways to treat many chains, and read the weights."""
    request = json.loads(text)
    with np.load(request["data"], allow_pickle=False) as arrays:
        x, y, weights = (jnp.asarray(arrays[name]) for name in ("x", "y", "weights"))

    def of_one(w: Any) -> Any:
        return log_density(w, x, y, request)

    def together(w: Any) -> tuple[Any, Any]:
        values, pull_back = jax.vjp(of_one, w)
        return values, pull_back(jnp.ones_like(values))[0]

    functions: dict[str, Function] = {
        "vmap": jax.jit(jax.vmap(jax.value_and_grad(of_one))),
        "batched": jax.jit(together),
    }
    for function in functions.values():
        jax.block_until_ready(function(weights))
    return functions, weights


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Time some calls in a row; hand out the numbers if asked to."""
    calls, way, save = request.pop("calls"), request.pop("way"), request.pop("save")
    functions, weights = problem(json.dumps(request, sort_keys=True))
    if save:
        value, gradient = functions[way](weights)
        np.savez(save, value=np.asarray(value), gradient=np.asarray(gradient))
    begin = perf_counter()
    for _ in range(calls):
        jax.block_until_ready(functions[way](weights))
    return {"seconds": (perf_counter() - begin) / calls}


def main() -> None:
    """Answer until standard input ends."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    print(json.dumps({"versions": versions}), flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
