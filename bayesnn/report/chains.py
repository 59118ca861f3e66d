"""How the chains converged, as rows of a table: for the report and for a terminal."""

import numpy as np
import xarray as xr

from bayesnn.arrays import FloatArray
from bayesnn.diagnostics.convergence import RHAT_LIMIT


def convergence_rows(convergence: xr.Dataset) -> list[tuple[str, str, str]]:
    """Make a row for each thing that is monitored, what a user feels first.

    Parameters
    ----------
    convergence : xarray.Dataset
        Group ``convergence`` of a tree, or :meth:`bayesnn.diagnostics.Convergence.to_dataset`.

    Returns
    -------
    list of (what, figure, note)
    """
    names = {"predictions": "predictions", "monitor": "training outputs", "": "earlier predictions"}
    group = names[str(convergence.attrs["function_group"])]
    rows = [_row(convergence, group, "function"), _row(convergence, "log posterior", "lp")]
    if "noise" in convergence:
        rows.append(_row(convergence, ", ".join(map(str, convergence["noise"].values)), "noise"))
    rows.append(_row(convergence, "weights", "weight"))
    if "nested_rhat" in convergence:
        value, band = (np.asarray(convergence[name].values) for name in ("nested_rhat", "nested_rhat_band"))
        limit = np.maximum(band, RHAT_LIMIT)
        worst = int(np.argmax((value - 1) / (limit - 1)))
        judges = f"; judges these short chains, limit {limit[worst]:.3f}" if convergence.attrs["is_short"] else ""
        note = f"converged chains stay below {band[worst]:.3f} (95 %, all quantities at once){judges}"
        rows.append(("worst nested R-hat", f"{value[worst]:.4f}", note))
    if "within_rhat" in convergence:
        within = ", ".join(f"{rhat:.4f}" for rhat in np.asarray(convergence["within_rhat"].values))
        limits = ", ".join(f"{limit:.3f}" for limit in np.asarray(convergence["within_limit"].values))
        is_short = bool(convergence.attrs["is_short"])
        kind, of_each = ("nested R-hat", f", limits {limits}") if is_short else ("R-hat", "")
        words = ["chains sample separate modes"] if convergence.attrs["samples_separate_modes"] else []
        words += [f"limit {float(convergence['across_limit']):.3f}"] if is_short else []
        rows.append((f"{kind} within each mode", within, f"predictions, log posterior and noise{of_each}"))
        rows.append((f"{kind} across modes", f"{float(convergence['across_rhat']):.4f}", ", ".join(words)))
    if "autocorrelation_time" in convergence:
        taus = np.asarray(convergence["autocorrelation_time"].values)
        note = f"steps, of {int(convergence.attrs['num_ensembles'])} interacting ensembles; R-hat is between these"
        rows.append(("longest autocorrelation time", f"{taus.max():.0f}", note))
    if convergence.attrs["n_stuck"]:
        rows.append(("chains that never moved", str(int(convergence.attrs["n_stuck"])), ""))
    return rows


def _row(convergence: xr.Dataset, what: str, prefix: str) -> tuple[str, str, str]:
    def values(name: str) -> FloatArray:
        return np.asarray(convergence[f"{prefix}_{name}"].values, dtype=np.float64)

    tail = f", tail {values('ess_tail').min():.0f}" if f"{prefix}_ess_tail" in convergence else ""
    worst = "worst R-hat," if values("rhat").size > 1 else "R-hat,"
    note = f"least ESS: bulk {values('ess_bulk').min():.0f}{tail}"
    return f"{worst} {what}", f"{values('rhat').max():.4f}", note
