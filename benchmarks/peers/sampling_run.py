"""One sampler of NumPyro, BlackJAX or emcee on one posterior, in a process of its own.

Run by ``sampling.py``, and by ``hard.py``, which wants draws for a fixed time. Draws are made in blocks until a rough
effective sample size of the function value that mixes worst reaches what is wanted, or the time is over; the exact one
is computed by the caller. Compiling the block of draws counts as getting ready, not as drawing. The clock began when
the caller started this process.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BEGAN = float(os.environ["BENCHMARK_BEGAN"])
N_CORES = 2
WARMUP, TARGET_ACCEPTANCE = 500, 0.8


class Clock:
    """What takes how long, and what has been drawn."""

    def __init__(self, request: dict[str, Any]) -> None:
        self.request = request
        self.blocks: list[np.ndarray] = []
        self.seconds: list[float] = []
        self.warm = 0.0

    def run(self, draw_block: Callable[[], np.ndarray]) -> None:
        """Draw blocks of weights (chains, draws, k); warm-up is over."""
        self.warm = time.time() - BEGAN
        until = self.request.get("until")
        while until is None or not self.blocks or time.time() - BEGAN < until:
            begin = time.perf_counter()
            self.blocks.append(draw_block())
            self.seconds.append(time.perf_counter() - begin)
            spent = sum(self.seconds[1:])
            if (
                until is None
                and len(self.seconds) > 2
                and (spent > self.request["budget"] or self.rough_ess() > self.request["ess"])
            ):
                break

    def rough_ess(self) -> float:
        """Least effective sample size of outputs by the initial positive sequence (Geyer 1992), chains as they are."""
        f = outputs(np.concatenate(self.blocks, axis=1), self.request["arrays"])
        chains, n, _ = f.shape
        centred = f - f.mean(axis=(0, 1))
        spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=1)) ** 2
        covariance = np.fft.irfft(spectrum, axis=1)[:, :n].mean(axis=0) / n
        correlation = covariance / np.maximum(covariance[0], 1e-300)
        pairs = correlation[: n - n % 2].reshape(-1, 2, f.shape[2]).sum(axis=1)
        positive = np.cumprod(pairs > 0.0, axis=0)
        tau = np.maximum(2.0 * (pairs * positive).sum(axis=0) - 1.0, 1.0 / n)
        return float((chains * n / tau).min())

    def result(self) -> tuple[np.ndarray, dict[str, float]]:
        """Return draws, and seconds until the first draw, of the draws, and of one block."""
        block = float(np.median(self.seconds[1:] or self.seconds))
        compiling = max(0.0, self.seconds[0] - block)
        draws = np.concatenate(self.blocks, axis=1)
        return draws, {"ready": self.warm + compiling, "drawing": block * len(self.blocks)}


def outputs(weights: np.ndarray, arrays: Any) -> np.ndarray:
    """Return outputs (chains, draws, m) at the new inputs, by NumPy."""
    x, hidden = arrays["new_x"], int(arrays["hidden"])
    d = x.shape[1]
    w1 = weights[..., : d * hidden].reshape(*weights.shape[:-1], d, hidden)
    b1 = weights[..., d * hidden : (d + 1) * hidden]
    w2, b2 = weights[..., (d + 1) * hidden : (d + 2) * hidden], weights[..., (d + 2) * hidden]
    sums = np.einsum("nd,cidh->cinh", x, w1) + b1[..., None, :]
    return np.einsum("cinh,cih->cin", np.tanh(sums), w2) + b2[..., None]


def log_density_of(arrays: Any) -> Callable[[Any], Any]:
    """Log density of a 1-hidden-layer tanh network under Gaussian noise and a normal prior, for JAX.

    Where no noise is given its logarithm is the last coordinate, under a flat prior.
    """
    import jax.numpy as jnp

    x, y = jnp.asarray(arrays["x"]), jnp.asarray(arrays["y"][:, 0])
    d, hidden = x.shape[1], int(arrays["hidden"])
    sigma, precision, n = float(arrays["sigma"]), float(arrays["prior_precision"]), len(arrays["y"])

    def log_density(w: Any) -> Any:
        h = jnp.tanh(x @ w[: d * hidden].reshape(d, hidden) + w[d * hidden : (d + 1) * hidden])
        last = (d + 2) * hidden
        f = h @ w[(d + 1) * hidden : last] + w[last]
        if np.isnan(sigma):
            log_sigma = w[last + 1]
            noise = -0.5 * jnp.exp(-2.0 * log_sigma) * jnp.sum((y - f) ** 2) - n * log_sigma
        else:
            noise = -0.5 * sigma**-2.0 * jnp.sum((y - f) ** 2)
        return noise - 0.5 * precision * jnp.sum(w[: last + 1] ** 2)

    return log_density


def numpyro_nuts(clock: Clock, dense: bool, chains: int, method: str) -> None:
    """Run NUTS of NumPyro: two chains on two devices ("parallel"), or several in one vectorised program."""
    import numpyro

    numpyro.enable_x64()
    numpyro.set_platform("cpu")
    numpyro.set_host_device_count(N_CORES)
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS

    arrays = clock.request["arrays"]
    log_density = log_density_of(arrays)
    kernel = NUTS(potential_fn=lambda w: -log_density(w), dense_mass=dense, target_accept_prob=TARGET_ACCEPTANCE)
    block = clock.request["block"]
    mcmc = MCMC(
        kernel, num_warmup=WARMUP, num_samples=block, num_chains=chains, chain_method=method, progress_bar=False
    )
    starts = jnp.asarray(arrays["starts"][:chains])
    mcmc.warmup(jax.random.PRNGKey(clock.request["seed"]), init_params=starts)
    jax.block_until_ready(mcmc.post_warmup_state)

    def draw_block() -> np.ndarray:
        mcmc.run(mcmc.post_warmup_state.rng_key)
        mcmc.post_warmup_state = mcmc.last_state
        return np.asarray(mcmc.get_samples(group_by_chain=True))

    clock.run(draw_block)


def blackjax_nuts(clock: Clock, dense: bool, chains: int) -> None:
    """Run NUTS of BlackJAX with window adaptation, chains vectorised."""
    import jax

    jax.config.update("jax_enable_x64", True)
    import blackjax
    import jax.numpy as jnp

    arrays = clock.request["arrays"]
    log_density = log_density_of(arrays)
    adaptation = blackjax.window_adaptation(
        blackjax.nuts, log_density, is_mass_matrix_diagonal=not dense, target_acceptance_rate=TARGET_ACCEPTANCE
    )

    @jax.jit
    def warm_up(keys: Any, starts: Any) -> Any:
        def one(key: Any, start: Any) -> Any:
            (state, parameters), _ = adaptation.run(key, start, WARMUP)
            return state, parameters["step_size"], parameters["inverse_mass_matrix"]

        return jax.vmap(one)(keys, starts)

    kernel = blackjax.nuts.build_kernel()

    @jax.jit
    def block_of(keys: Any, states: Any, steps: Any, metrics: Any) -> Any:
        def one(key: Any, state: Any, step: Any, metric: Any) -> Any:
            def advance(current: Any, step_key: Any) -> Any:
                new, _ = kernel(step_key, current, log_density, step, metric)
                return new, new.position

            return jax.lax.scan(advance, state, jax.random.split(key, clock.request["block"]))

        return jax.vmap(one)(keys, states, steps, metrics)

    key = jax.random.PRNGKey(clock.request["seed"])
    key, first = jax.random.split(key)
    starts = jnp.asarray(arrays["starts"][:chains])
    state, steps, metrics = jax.block_until_ready(warm_up(jax.random.split(first, chains), starts))
    held = {"key": key, "state": state}

    def draw_block() -> np.ndarray:
        held["key"], now = jax.random.split(held["key"])
        held["state"], positions = block_of(jax.random.split(now, chains), held["state"], steps, metrics)
        return np.asarray(positions)

    clock.run(draw_block)


def blackjax_mclmc(clock: Clock, steps: float, chains: int) -> None:
    """Run the Metropolis-adjusted microcanonical Langevin, tuned by its own search, chains vectorised.

    Of `steps` leapfrog steps on average; 2 is the default of its search.
    """
    import jax

    jax.config.update("jax_enable_x64", True)
    import blackjax
    import jax.numpy as jnp
    from blackjax.mcmc import adjusted_mclmc_dynamic as dynamic
    from blackjax.mcmc.adjusted_mclmc import rescale

    arrays = clock.request["arrays"]
    log_density = log_density_of(arrays)
    kernel = dynamic.build_kernel(
        integration_steps_fn=lambda key, mean: jnp.ceil(jax.random.uniform(key) * rescale(mean)).astype(int)
    )

    def tuning_kernel(
        rng_key: Any, state: Any, logdensity_fn: Any, step_size: Any, inverse_mass_matrix: Any, **steps: Any
    ) -> Any:
        return kernel(rng_key, state, logdensity_fn, step_size, inverse_mass_matrix=inverse_mass_matrix, **steps)

    def start_of(key: Any, start: Any) -> Any:
        return dynamic.init(start, log_density, key)

    @jax.jit
    def warm_up(keys: Any, starts: Any) -> Any:
        def one(key: Any, start: Any) -> Any:
            first, second = jax.random.split(key)
            state, parameters, _ = blackjax.adjusted_mclmc_find_L_and_step_size(
                tuning_kernel,
                log_density,
                num_steps=10 * WARMUP,
                state=start_of(first, start),
                rng_key=second,
                target=0.9,
                frac_tune1=0.1,
                frac_tune2=0.1,
                target_num_integration_steps=steps,
            )
            return state, parameters

        return jax.vmap(one)(keys, starts)

    thin = clock.request["thin"]

    @jax.jit
    def block_of(keys: Any, states: Any, parameters: Any) -> Any:
        def one(key: Any, state: Any, tuned: Any) -> Any:
            def advance(current: Any, step_key: Any) -> Any:
                def inner(i: Any, inner_state: Any) -> Any:
                    return kernel(
                        jax.random.fold_in(step_key, i),
                        inner_state,
                        log_density,
                        tuned.step_size,
                        inverse_mass_matrix=tuned.inverse_mass_matrix,
                        integration_steps_params=(tuned.L / tuned.step_size,),
                    )[0]

                new = jax.lax.fori_loop(0, thin, inner, current)
                return new, new.position

            return jax.lax.scan(advance, state, jax.random.split(key, clock.request["block"]))

        return jax.vmap(one)(keys, states, parameters)

    key = jax.random.PRNGKey(clock.request["seed"])
    key, first = jax.random.split(key)
    starts = jnp.asarray(arrays["starts"][:chains])
    state, parameters = jax.block_until_ready(warm_up(jax.random.split(first, chains), starts))
    held = {"key": key, "state": state}

    def draw_block() -> np.ndarray:
        held["key"], now = jax.random.split(held["key"])
        held["state"], positions = block_of(jax.random.split(now, chains), held["state"], parameters)
        return np.asarray(positions)

    clock.run(draw_block)


def emcee_stretch(clock: Clock) -> None:
    """Run the stretch move of emcee, one ensemble, on a compiled vectorised density."""
    import emcee
    import jax

    jax.config.update("jax_enable_x64", True)
    arrays = clock.request["arrays"]
    density = jax.jit(jax.vmap(log_density_of(arrays)))
    k = arrays["starts"].shape[1]
    walkers = 4 * k
    sampler = emcee.EnsembleSampler(walkers, k, lambda w: np.asarray(density(w)), vectorize=True)
    sampler._random = np.random.RandomState(clock.request["seed"])  # emcee offers no seed but the global one
    state = sampler.run_mcmc(arrays["starts"][:walkers], 10 * WARMUP, skip_initial_state_check=True, store=False)
    held = {"state": state}
    thin = clock.request["thin"]

    def draw_block() -> np.ndarray:
        sampler.reset()
        held["state"] = sampler.run_mcmc(held["state"], clock.request["block"], thin_by=thin)
        return sampler.get_chain().transpose(1, 0, 2)

    clock.run(draw_block)


SAMPLERS: dict[str, Callable[[Clock], None]] = {
    "NumPyro NUTS diagonal, 2 parallel": lambda clock: numpyro_nuts(clock, False, 2, "parallel"),
    "NumPyro NUTS dense, 2 parallel": lambda clock: numpyro_nuts(clock, True, 2, "parallel"),
    "NumPyro NUTS diagonal, 8 vectorised": lambda clock: numpyro_nuts(clock, False, 8, "vectorized"),
    "NumPyro NUTS dense, 8 vectorised": lambda clock: numpyro_nuts(clock, True, 8, "vectorized"),
    "BlackJAX NUTS diagonal, 8 vectorised": lambda clock: blackjax_nuts(clock, False, 8),
    "BlackJAX NUTS dense, 8 vectorised": lambda clock: blackjax_nuts(clock, True, 8),
    "BlackJAX adjusted MCLMC of 2 steps, 8 vectorised": lambda clock: blackjax_mclmc(clock, 2.0, 8),
    "BlackJAX adjusted MCLMC of 8 steps, 8 vectorised": lambda clock: blackjax_mclmc(clock, 8.0, 8),
    "emcee stretch": emcee_stretch,
}


def main() -> None:
    """Run the sampler that the request on standard input names; write draws and times."""
    request = json.load(sys.stdin)
    with np.load(request["problem"], allow_pickle=False) as file:
        request["arrays"] = {name: file[name] for name in file.files}
    clock = Clock(request)
    SAMPLERS[request["sampler"]](clock)
    draws, seconds = clock.result()
    np.savez(request["found"], weights=draws)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
