"""The result table of a job, for a terminal."""

from collections.abc import Mapping

import xarray as xr
from rich.table import Table

from bayesnn.agreement import Agreement
from bayesnn.diagnostics import Scores
from bayesnn.laplace import Laplace
from bayesnn.optimum import Optimum
from bayesnn.posterior import Gaussian, NormalPrior
from bayesnn.report.chains import convergence_rows
from bayesnn.report.modes import modes_in_words
from bayesnn.report.tempering import travels_in_words
from bayesnn.tree import group_of, values_of


def summary_table(
    title: str,
    optimum: Optimum,
    laplace: Laplace,
    tree: xr.DataTree,
    agreement: Agreement,
    scores: Scores,
    seconds: Mapping[str, float],
) -> Table:
    """Make the table a job prints.

    Parameters
    ----------
    title : str
        What was fitted to what.
    optimum, laplace, tree, agreement, scores
        The job's results.
    seconds : mapping of str to float
        Wall time of each stage.

    Returns
    -------
    rich.table.Table
    """
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what", style="bold")
    table.add_column("figure", justify="right")
    table.add_column("note")
    certificate, posterior = optimum.certificate, laplace.posterior
    n_runs = optimum.n_found + sum(other.n_found for other in optimum.others)
    others = [other for other in optimum.others if other.certificate.is_optimum]
    elsewhere = n_runs - optimum.n_found - sum(other.n_found for other in others)
    table.add_row(
        "data", f"n = {posterior.n_rows}", f"{len(values_of(tree, 'predictions_constant_data', 'y'))} rows held out"
    )
    table.add_row("weights", f"k = {posterior.n_weights}", f"rank of B {certificate.rank}")
    table.add_row(
        "optimum",
        optimum.status.value,
        f"found by {optimum.n_found} of {n_runs} searches; other optima: {len(others)}"
        + (f"; searches that ended at none: {elsewhere}" if elsewhere else ""),
    )
    table.add_row("Newton decrement", f"{certificate.newton_decrement:.1e}", "distance to the mode, posterior sd")
    table.add_row(
        "least Hessian eigenvalue",
        f"{certificate.smallest_hessian_eigenvalue:.3g}",
        f"GGN-Hessian gap {certificate.ggn_hessian_gap:.2g}",
    )
    if isinstance(posterior.likelihood, Gaussian) and isinstance(posterior.likelihood.sigma_noise, float):
        table.add_row("sigma_noise", f"{posterior.likelihood.sigma_noise:.4f}", "standardised units")
    if isinstance(posterior.prior, NormalPrior) and isinstance(posterior.prior.prior_precision, float):
        table.add_row("prior_precision", f"{posterior.prior.prior_precision:.4f}", "")
    table.add_row("log evidence", f"{laplace.log_marginal_likelihood:.2f}", "Laplace, nats, this mode alone")
    table.add_section()
    acceptance = values_of(tree, "sample_stats", "acceptance_rate")
    table.add_row(
        "chains",
        f"{acceptance.shape[0]} x {acceptance.shape[1]}",
        f"acceptance {acceptance.mean():.2f}",
    )
    if "modes" in tree.children:
        table.add_row("modes", f"{len(values_of(tree, 'modes', 'num_chains'))}", modes_in_words(tree))
    if "tempering" in tree.children:
        levels = values_of(tree, "tempering", "inverse_temperature")
        table.add_row("replica exchange", f"{len(levels)} levels", travels_in_words(tree))
    for row in convergence_rows(group_of(tree, "convergence")):
        table.add_row(*row)
    table.add_section()
    for name, rmse, lpd in zip(scores.predictives, scores.rmse, scores.lpd, strict=True):
        table.add_row(f"held-out, {name}", f"RMSE {rmse:.4f}", f"mean log predictive density {lpd:.4f}")
    table.add_section()
    for finding in agreement.findings:
        note = f"chance {finding.band:.3g}, limit {finding.limit:.3g}"
        table.add_row(finding.name, f"{finding.value:.3g}", note)
    table.add_section()
    table.add_row("seconds", f"{sum(seconds.values()):.1f}", ", ".join(f"{k} {v:.1f}" for k, v in seconds.items()))
    return table
