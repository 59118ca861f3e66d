"""Chains that accepted no proposal."""

import numpy as np

from bayesnn.sampling.chains import Chains
from bayesnn.sampling.marginal import Marginal
from bayesnn.sampling.moves import TrackedMove

# Mean acceptance probability below which chains that stand still do so for a reason, not by chance in a short run.
HARDLY_ANY = 0.01


def standstill(chains: Chains, move: TrackedMove) -> tuple[int, str]:
    """Count the chains that never moved, and say what to do.

    Parameters
    ----------
    chains : Chains
        The draws.
    move : TrackedMove
        What made them: where it draws some coordinates afresh at every step, the others tell.

    Returns
    -------
    n_stuck : int
        Chains that accepted no proposal and were hardly ever near it.
    words : str
        What it means; empty where all chains moved.
    """
    marginals = [getattr(part, "marginal", None) for part in move.parts]
    kept = next((each.kept for each in marginals if isinstance(each, Marginal)), slice(None))
    moved = chains.weights[..., kept]
    stands = (moved == moved[:, :1]).all(axis=(1, 2))
    # A move that adjusts nothing accepts whatever it does; what it could not do it calls diverging.
    rate = np.where(chains.diverging.all(axis=1), 0.0, chains.acceptance_rate.mean(axis=1))
    stuck = stands & ~(rate >= HARDLY_ANY)
    n_stuck = int(stuck.sum())
    if n_stuck == 0:
        return 0, ""
    who = "no proposal was accepted" if stuck.all() else f"{n_stuck} of {len(stuck)} chains accepted no proposal"
    figures = f"mean acceptance probability {float(np.mean(rate[stuck])):.1g} at step size {chains.step_size:.3g}"
    advice = "these draws say nothing about the posterior: raise num_warmup, start='laplace', or a smaller step_size"
    return n_stuck, f"{who}: {figures}; {advice} in a move of your own"
