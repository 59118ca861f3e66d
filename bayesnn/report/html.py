"""One self-contained HTML file from a tree."""

import base64
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, StrictUndefined

from bayesnn.files import written_whole
from bayesnn.report.chains import convergence_rows
from bayesnn.report.modes import modes_rows
from bayesnn.report.tempering import level_rows
from bayesnn.tree import group_of, settings_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110


def write_report(tree: xr.DataTree, path: str | os.PathLike[str]) -> None:
    """Write the report of a run: verdict, scores, agreement, optimum, chains, figures, settings.

    Sections appear for the groups the tree has: run :func:`bayesnn.compare`, or :func:`bayesnn.diagnose` where there is
    no Gaussian, and :func:`bayesnn.add_predictions` before, and they are there.

    Parameters
    ----------
    tree : xarray.DataTree
        From :func:`bayesnn.sample` or :func:`bayesnn.load_tree`.
    path : path-like
        Where to; the file needs nothing beside it, and is written whole or not at all.

    Raises
    ------
    ArgumentError
        If the tree was not made by this package.
    """
    page = render_report(tree)
    with written_whole(path) as partial:
        partial.write_text(page, encoding="utf-8")


def render_report(tree: xr.DataTree) -> str:
    """Return the report's HTML text."""
    from bayesnn.report.figures import FIGURES  # matplotlib takes a third of a second: only reports need it

    settings = settings_of(tree)
    return render_page(
        title=f"bayesnn: {settings.get('data', settings['model'])}",
        verdict=_verdict(tree),
        tables=[table for make in (_scores, _agreement, _optima, _modes, _chains, _levels) if (table := make(tree))],
        figures=[
            (title, draw(tree)) for title, needed, draw in FIGURES if all(name in tree.children for name in needed)
        ],
        settings={name: value for name, value in settings.items() if name != "libraries"},
        libraries=settings["libraries"],
    )


def render_page(
    title: str,
    verdict: dict[str, str],
    tables: list[dict[str, Any]],
    figures: "list[tuple[str, Figure]]",
    settings: dict[str, Any],
    libraries: dict[str, str],
) -> str:
    """Return one self-contained HTML page; tables are made by :func:`make_table`, figures come with titles."""
    environment = Environment(
        loader=PackageLoader("bayesnn.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        title=title,
        verdict=verdict,
        tables=tables,
        figures=[{"title": name, "image": _png(figure)} for name, figure in figures],
        settings=settings,
        libraries=libraries,
    )


def _png(figure: "Figure") -> str:
    buffer = io.BytesIO()
    # No creation date in the file: the same tree gives the same report.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def _verdict(tree: xr.DataTree) -> dict[str, str]:
    if "agreement" not in tree.children:
        sentence = "Not compared: run bayesnn.compare(laplace, tree) before the report."
        if "laplace" not in tree.children:
            sentence = "No Gaussian to compare with: chains began at points of their own."
            if "convergence" not in tree.children:
                sentence += " Run bayesnn.diagnose(tree, posterior) before the report."
        return {"kind": "none", "sentence": sentence}
    attrs = group_of(tree, "agreement").attrs
    kind = {"gaussian": "good", "not gaussian": "bad"}.get(str(attrs["verdict"]), "open")
    return {"kind": kind, "sentence": str(attrs["sentence"])}


def make_table(title: str, header: list[str], rows: list[list[Any]], note: str = "") -> dict[str, Any]:
    """Make a table for :func:`render_page`, numbers rounded."""

    def cell(value: Any) -> str:
        if isinstance(value, str):
            return value
        number = float(value)
        return f"{number:.0f}" if number.is_integer() and abs(number) < 1e6 else f"{number:.4g}"

    return {"title": title, "header": header, "rows": [[cell(v) for v in row] for row in rows], "note": note}


def _scores(tree: xr.DataTree) -> dict[str, Any] | None:
    if "scores" not in tree.children:
        return None
    scores = group_of(tree, "scores")
    rows = [
        [str(name), float(rmse), float(lpd)]
        for name, rmse, lpd in zip(
            scores["predictive"].values, scores["rmse"].values, scores["lpd"].values, strict=True
        )
    ]
    return make_table("Held-out scores", ["predictive", "RMSE", "mean log predictive density"], rows)


def _agreement(tree: xr.DataTree) -> dict[str, Any] | None:
    if "agreement" not in tree.children:
        return None
    agreement = group_of(tree, "agreement")
    rows = [
        [str(name), float(value), float(band), float(limit)]
        for name, value, band, limit in zip(
            agreement["finding"].values,
            agreement["distance"].values,
            agreement["null_band"].values,
            agreement["limit"].values,
            strict=True,
        )
    ]
    folded = 100 * float(agreement["fraction_folded"])
    note = (
        "Each distance is 0 where Gaussian and posterior agree. Within the null band it may be chance; "
        f"beyond the limit it matters. Draws folded from symmetric images of the mode: {folded:.2g} %."
    )
    return make_table("Gaussian against draws", ["statistic", "distance", "null band", "limit"], rows, note)


def _optima(tree: xr.DataTree) -> dict[str, Any] | None:
    if "optimizer_result" not in tree.children:
        return None
    result = group_of(tree, "optimizer_result")
    names = [
        "log_density",
        "status",
        "n_found",
        "newton_decrement",
        "smallest_hessian_eigenvalue",
        "ggn_hessian_gap",
    ]
    rows = [
        [str(value) if name == "status" else float(value) for name, value in zip(names, values, strict=True)]
        for values in zip(*(np.asarray(result[name].values) for name in names), strict=True)
    ]
    return make_table(
        "Optima found",
        [
            "log density",
            "status",
            "times found",
            "Newton decrement",
            "least Hessian eigenvalue",
            "GGN-Hessian gap",
        ],
        rows,
        f"Certificate of the first: {result.attrs['reasons']}.",
    )


def _modes(tree: xr.DataTree) -> dict[str, Any] | None:
    return make_table("Modes the chains began in", *modes_rows(tree)) if "modes" in tree.children else None


def _levels(tree: xr.DataTree) -> dict[str, Any] | None:
    if "tempering" not in tree.children:
        return None
    return make_table("Levels of replica exchange", *level_rows(tree))


def _chains(tree: xr.DataTree) -> dict[str, Any] | None:
    if "convergence" not in tree.children:
        return None
    convergence, stats = group_of(tree, "convergence"), group_of(tree, "sample_stats")
    rows: list[list[Any]] = [
        *(list(row) for row in convergence_rows(convergence)),
        ["mean acceptance rate", float(stats["acceptance_rate"].mean()), ""],
        ["divergences", float(stats["diverging"].sum()), ""],
    ]
    return make_table("Chains", ["", "", ""], rows)
