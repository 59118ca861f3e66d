"""The command line: ``bayesnn demo``, ``run``, ``resume``, ``report``, ``growth``, ``autopsy``."""

import shlex
import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from bayesnn.errors import ArgumentError, BayesnnError
from bayesnn.version import __version__

if TYPE_CHECKING:
    from bayesnn.job import JobResult

app = typer.Typer(
    help="Certified optima, linearized posteriors and preconditioned MCMC for neural networks.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

BAD_INPUT, FAILURE, INTERRUPTED = 2, 1, 130

Output = Annotated[Path | None, typer.Option("--out", help="Folder for results.nc and report.html.")]
Quick = Annotated[bool, typer.Option("--quick", help="A few seconds' run, to try it out.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Drop an unfinished run in the folder, and begin anew.")]


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="Run file (TOML), such as workflows/concrete.toml.")],
    out: Output = None,
    quick: Quick = False,
    fresh: Fresh = False,
) -> None:
    """Fit, certify, linearize, sample and compare, as a run file says. Goes on where the same run was interrupted."""
    # Heavy imports wait until a command needs them, so that --help answers at once.
    from bayesnn.config import OutputConfig, read_config
    from bayesnn.job import run_job

    settings = read_config(config)
    if out is not None:
        settings = settings.model_copy(update={"output": OutputConfig(directory=str(out))})
    if quick:
        settings = settings.in_short()
    directory = settings.output.directory
    with _goes_on_with(directory):
        _show(run_job(settings, fresh=fresh), directory)


@app.command()
def demo(out: Output = None, quick: Quick = False, fresh: Fresh = False) -> None:
    """Run the main job on the concrete data: 1030 strength tests, a network of 3 tanh units."""
    from bayesnn.files import shipped

    run(shipped("workflows", "concrete.toml"), out, quick, fresh)


@app.command()
def resume(
    directory: Annotated[Path, typer.Argument(help="Output folder of a run, or a store of bayesnn.sample.")],
) -> None:
    """Go on with an interrupted run, to the results it would have had."""
    from bayesnn import resumption
    from bayesnn.job import resume_job
    from bayesnn.job_folder import JobFolder
    from bayesnn.sampling.store import is_store

    folder = JobFolder(directory)
    with _goes_on_with(directory):
        if folder.is_unfinished:
            _show(resume_job(directory), directory)
        elif is_store(directory):
            _resume_store(directory, folder.results)
        else:
            resumption.resume(directory)
            _console().print("finished already, there is nothing to go on with", highlight=False)
            _print_paths(folder.results, folder.report)


@app.command()
def report(
    results: Annotated[Path, typer.Argument(help="A results.nc.")],
    out: Annotated[Path, typer.Option("--out", help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write the HTML report of an earlier run anew."""
    from bayesnn.report import write_report
    from bayesnn.tree import load_tree

    write_report(load_tree(results), out)
    Console().print(f"report:  {out}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def growth(
    config: Annotated[Path, typer.Argument(help="Run file (TOML); its table [growth] says which sizes.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for growth.html and the cells' records.")] = None,
) -> None:
    """Watch the posterior become Gaussian as data grow. Run again, it does only what is missing."""
    from bayesnn.config import OutputConfig, read_config
    from bayesnn.growth_job import run_growth

    settings = read_config(config)
    if out is not None:
        settings = settings.model_copy(update={"output": OutputConfig(directory=str(out))})
    with _goes_on(f"the same `bayesnn growth {shlex.quote(str(config))}`"):
        found, page = run_growth(settings)
    console = _console()
    console.print(found.table())
    enough = found.good_enough(settings.growth.kl)
    console.print(f"KL {settings.growth.kl:g} nats: {enough.sentence}", highlight=False)
    console.print(f"report:  {page}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def autopsy(
    out: Annotated[Path, typer.Option("--out", help="Folder for autopsy.html.")] = Path("runs/autopsy"),
    quick: Quick = False,
) -> None:
    """Find out why the linearized iteration W = (B'B)^-1 B'd cycles, and which rule does not."""
    from bayesnn.optimum import judge_conjectures, run_autopsy
    from bayesnn.report import autopsy_table, write_autopsy

    out.mkdir(parents=True, exist_ok=True)  # before the work
    found = run_autopsy(sizes=(30, 300), n_starts=5, n_steps=100) if quick else run_autopsy()
    console = _console()
    console.print(autopsy_table(found))
    for conjecture in judge_conjectures(found):
        console.print(f"{conjecture.verdict}: {conjecture.claim}. {conjecture.evidence}.", highlight=False)
    page = out / "autopsy.html"
    write_autopsy(found, page)
    console.print(f"report:  {page}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def version() -> None:
    """Print the version."""
    Console().print(__version__, highlight=False)


def main() -> None:
    """Run the command line; bad input is one line on stderr and exit status 2, never a traceback."""
    try:
        app()
    except ArgumentError as error:
        _complain(error)
        sys.exit(BAD_INPUT)
    except (BayesnnError, OSError) as error:
        _complain(error)
        sys.exit(FAILURE)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(INTERRUPTED)


def _goes_on_with(directory: str | Path) -> AbstractContextManager[None]:
    from bayesnn.job_folder import resume_command

    return _goes_on(f"`{resume_command(directory)}`")


@contextmanager
def _goes_on(command: str) -> Generator[None]:
    """Say, at Ctrl-C, how the run goes on."""
    try:
        yield
    except KeyboardInterrupt:
        _complain(f"interrupted; {command} goes on from here")
        raise typer.Exit(INTERRUPTED) from None


def _show(result: "JobResult", directory: str | Path) -> None:
    """Print what a job found, and where it lies."""
    from bayesnn.job_folder import resume_command
    from bayesnn.report import summary_table

    title = escape(f"{result.laplace.posterior.model!r} on {result.train.name}")
    console = _console()
    console.print(
        summary_table(
            title,
            result.optimum,
            result.laplace,
            result.tree,
            result.agreement,
            result.scores,
            result.seconds,
        )
    )
    console.print(result.agreement.sentence, highlight=False)
    _print_paths(result.results_path, result.report_path)
    if result.interrupted:
        command = resume_command(directory)
        _complain(f"interrupted; the results hold the draws made until then, `{command}` goes on")
        raise typer.Exit(INTERRUPTED)


def _resume_store(directory: Path, results: Path) -> None:
    """Go on with a store, and write the tree into it."""
    from bayesnn.job_folder import resume_command
    from bayesnn.resumption import resume
    from bayesnn.sampling.call import StoredCall
    from bayesnn.tree import save_tree, settings_of

    was_finished = StoredCall.of(directory).is_finished
    tree = resume(directory)
    save_tree(tree, results)
    sizes = tree["posterior"].sizes
    words = "finished already" if was_finished else "finished"
    if settings_of(tree)["interrupted"]:
        words = f"interrupted; `{resume_command(directory)}` goes on"
    console = _console()
    words = f"{sizes['chain']} chains of {sizes['draw']} draws: {words}"
    console.print(words, highlight=False, markup=False, soft_wrap=True)
    console.print(f"results: {results}", highlight=False, markup=False, soft_wrap=True)
    if settings_of(tree)["interrupted"]:
        raise typer.Exit(INTERRUPTED)


def _print_paths(results: Path, report: Path) -> None:
    _console().print(f"results: {results}\nreport:  {report}", highlight=False, markup=False, soft_wrap=True)


def _console() -> Console:
    # Written to a file or a pipe, rich would fold tables into 80 columns.
    return Console(width=None if sys.stdout.isatty() else 120)


def _complain(message: object) -> None:
    Console(stderr=True).print(f"bayesnn: {message}", highlight=False, markup=False, soft_wrap=True)
