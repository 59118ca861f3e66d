"""Why chains have not converged: the words."""

from bayesnn.chain_statistics import Layout
from bayesnn.diagnostics.convergence import ESS_LIMIT, Convergence, Worst


def disagreement(convergence: Convergence) -> str:
    """Say in one line what keeps chains from having converged.

    Parameters
    ----------
    convergence : Convergence
        Of chains that have not.

    Returns
    -------
    str
    """
    parts = [_ess(convergence)] if convergence.wants_draws else [_rhat(convergence), _ess(convergence)]
    if convergence.samples_separate_modes:
        modes = f"chains sample {len(convergence.within)} separate modes"
        advice = (
            "predictions rest on how many chains began in each: try move='replica_exchange', whose chains cross, or "
            "weigh the modes with mode_weights and predict_over_modes"
        )
        parts.insert(0, f"{modes}; {advice}")
    if convergence.n_stuck:
        stuck = f"{convergence.n_stuck} of {convergence.num_chains} chains never moved"
        parts.insert(0, f"{stuck}: try longer warm-up, or another start or metric")
    return "; ".join(parts)


def _rhat(convergence: Convergence) -> str:
    across, layout = convergence.across, convergence.layout
    what = "predictions, log posterior and noise" if convergence.noise_names else "predictions and log posterior"
    if not convergence.within:
        return f"worst {_kind(layout)} of {what} {across.rhat:.3f}, {_wants(layout, across)}"
    within = max(convergence.within, key=lambda worst: (not worst.agrees, worst.rhat))
    limit = f" (wants at most {within.limit:.3f})" if layout.is_short else ""
    return (
        f"worst {_kind(layout)} of {what} within a mode {within.rhat:.3f}{limit}, across modes {across.rhat:.3f}, "
        f"{_wants(layout, across)}"
    )


def _kind(layout: Layout) -> str:
    if layout.num_ensembles:
        return f"R-hat (between {layout.num_ensembles} ensembles)"
    return "nested R-hat" if layout.is_short else "R-hat"


def _wants(layout: Layout, worst: Worst) -> str:
    """Say what the limit is, and where it comes from."""
    if not layout.is_short:
        return f"wants at most {worst.limit:g}"
    count = len(set(layout.superchains.tolist()))
    many = f"{layout.num_chains} chains of {layout.num_draws} draws"
    superchains = "" if count == layout.num_chains else f" in {count} superchains"
    return f"wants at most {worst.limit:.3f}, which converged ones keep below ({many}{superchains})"


def _ess(convergence: Convergence) -> str:
    words = f"least effective sample size {convergence.least_ess:.0f}, wants at least {ESS_LIMIT:.0f}"
    if not convergence.layout.num_ensembles:
        return words
    tau = float(convergence.autocorrelation_time.max())
    return f"{words}, with an autocorrelation time of {tau:.0f} of the {convergence.layout.num_draws} steps"
