"""The main job: from data to a certified, sampled and compared posterior."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import xarray as xr

from bayesnn import datasets
from bayesnn.agreement import Agreement, compare
from bayesnn.config import RunConfig
from bayesnn.datasets import Dataset
from bayesnn.diagnostics import MODE_WEIGHTINGS, Scores, add_predictions, mode_weights
from bayesnn.errors import ArgumentError
from bayesnn.job_folder import JobFolder, NoRoomError
from bayesnn.laplace import Laplace, LaplaceMixture, TunedPosterior, fit_laplace, maximize_evidence
from bayesnn.models import MLP
from bayesnn.optimum import Optimum, find_optimum, uninterrupted
from bayesnn.posterior import Gaussian, NormalPrior, Posterior
from bayesnn.progress import progress_bar
from bayesnn.report import write_report
from bayesnn.sampling import laplace_at_better_optimum, sample
from bayesnn.sampling.ensembles import DEFAULT_CHAINS
from bayesnn.sampling.proposal import fitting_move
from bayesnn.sampling.sampler import DEFAULT_SYSTEMS
from bayesnn.sampling.target import CHAINS_PER_MODE, Target
from bayesnn.tree import add_settings, name_inputs, optimizer_group, save_tree, settings_of

# Tuning moves the posterior, and another optimum may then be the best: tune again there, at most this often.
TUNING_PASSES = 3


@dataclass(frozen=True, eq=False)
class JobResult:
    """What a job leaves.

    Parameters
    ----------
    config : RunConfig
        What was asked.
    train, test : Dataset
        Standardised rows.
    optimum : Optimum
        The best, with the others.
    laplace : Laplace
        The Gaussian there; where chains start in several optima, that of the highest evidence; where they have found
        a far better optimum and gone there, the Gaussian at that.
    tree : xarray.DataTree
        Everything else.
    agreement : Agreement
        Gaussian against draws.
    scores : Scores
        Held-out scores in standardised units.
    seconds : dict
        Wall time of each stage.
    results_path, report_path : pathlib.Path
        The files written.
    """

    config: RunConfig
    train: Dataset
    test: Dataset
    optimum: Optimum
    laplace: Laplace
    tree: xr.DataTree
    agreement: Agreement
    scores: Scores
    seconds: dict[str, float]
    results_path: Path
    report_path: Path

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended the chains early; the files hold the draws made until then."""
        return bool(settings_of(self.tree)["interrupted"])


def run_job(config: RunConfig, *, fresh: bool = False, progress: bool | None = None) -> JobResult:
    """Run a whole inference and write ``results.nc`` and ``report.html``.

    Load, split, standardise with the training rows only, search optima, tune noise and prior by the evidence, certify,
    linearize, sample, compare, predict the held-out rows, write. Until all is written, the output folder holds what is
    needed to go on (:mod:`bayesnn.job_folder`): the same call, or :func:`resume_job`, ends with the same results as if
    the run had never been interrupted.

    Parameters
    ----------
    config : RunConfig
        Such as :func:`bayesnn.config.read_config` returns.
    fresh : bool
        Whether to drop an unfinished run in the output folder.
    progress : bool, optional
        Whether to show bars; by default where stderr is a terminal.

    Returns
    -------
    JobResult
        Ctrl-C while the chains draw ends them early, and the rest is done with what they made; before that, and where
        these are no more draws than weights, KeyboardInterrupt is raised. The run can go on in both cases.

    Raises
    ------
    ArgumentError
        If the configuration names data that are not there, the output folder cannot be used, or it holds an unfinished
        run with other settings.
    """
    folder = JobFolder(config.output.directory)
    with folder.held():
        is_new = folder.begin(config, fresh)
        try:
            return _finish(config, Path(), folder, progress)
        except ArgumentError as error:
            if is_new and not folder.has_something and not isinstance(error, NoRoomError):
                folder.end()  # settings or data that cannot be used: there is nothing to go on with
            raise


def resume_job(directory: str | os.PathLike[str], *, progress: bool | None = None) -> JobResult:
    """Go on with a run that was interrupted, to the results it would have had.

    Parameters
    ----------
    directory : path-like
        Its output folder.
    progress : bool, optional
        Whether to show bars; by default where stderr is a terminal.

    Returns
    -------
    JobResult

    Raises
    ------
    ArgumentError
        If the folder holds no unfinished run, or its data have changed or are gone.
    """
    folder = JobFolder(directory)
    config, base = folder.settings()
    with folder.held():
        return _finish(config, base, folder, progress)


def _finish(config: RunConfig, base: Path, folder: JobFolder, progress: bool | None) -> JobResult:
    """Do all that is not yet done."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "data"):
        train, test = load_data(config, base).split(config.data.test_fraction, config.seed)
        scaling = train.scaling()
        train, test = scaling.apply(train), scaling.apply(test)
    folder.check_data(train, test)
    posterior = untuned_posterior(config, train)
    _check_chains(config, posterior)
    with _timed(seconds, "optimum and evidence"):
        found = folder.load_search(posterior)
        if found is None:
            found = tuned_optimum(posterior, config, progress)
            folder.save_search(*found)
        posterior, optimum = found
    with _timed(seconds, "laplace"):
        modes = _modes(posterior, optimum, config)
        laplace = modes.best
    with _timed(seconds, "sampling"):
        arguments = config.sampling.model_dump(exclude={"n_modes", "num_samples"})
        num_samples = _enough_samples(config, modes)
        tree = sample(
            modes, seed=config.seed, num_samples=num_samples, store=folder.chains, progress=progress, **arguments
        )
        if settings_of(tree)["interrupted"] and tree["posterior"].sizes["draw"] < _least_samples(config, modes):
            raise KeyboardInterrupt  # too few to compare; they are in the folder, and the run can go on
        # Where the chains have gone is what their draws are to be compared with.
        laplace = laplace_at_better_optimum(laplace, tree)
    with _timed(seconds, "comparison"), progress_bar("comparison", 2, progress) as tick:
        scores = add_predictions(tree, laplace, test.x, test.y, [mode_weights(tree, m) for m in _weightings(tree)])
        assert scores is not None  # targets were given
        tick()
        agreement = compare(laplace, tree)
        tick()
    tree["optimizer_result"] = xr.DataTree(optimizer_group(optimum, posterior.weight_names))
    name_inputs(tree, train.feature_names)
    add_settings(tree, data=train.name, target=train.target_name, source=train.source, licence=train.licence)
    add_settings(tree, config=config.model_dump(exclude={"output"}))
    with _timed(seconds, "files"), progress_bar("files", 2, progress) as tick, folder.in_need_of_room():
        save_tree(tree, folder.results)
        tick()
        write_report(tree, folder.report)
        tick()
    result = JobResult(
        config, train, test, optimum, laplace, tree, agreement, scores, seconds, folder.results, folder.report
    )
    if not result.interrupted:
        folder.end()
    return result


def untuned_posterior(config: RunConfig, data: Dataset) -> Posterior:
    """Return the posterior that a run file describes, of standardised rows, with the noise and prior it begins with."""
    network = MLP(data.x.shape[1], config.model.hidden, 1, config.model.activation, config.model.bias)
    likelihood, prior = Gaussian(config.posterior.sigma_noise), NormalPrior(config.posterior.prior_precision)
    return Posterior(network, data.x, data.y, likelihood, prior)


def tuned_optimum(posterior: Posterior, config: RunConfig, progress: bool | None) -> tuple[Posterior, Optimum]:
    """Find the best optimum, under the noise and prior of the highest evidence where a run file wants that."""
    search = partial(
        find_optimum,
        n_starts=config.optimum.n_starts,
        n_hops=config.optimum.n_hops,
        max_steps=config.optimum.max_steps,
        seed=config.seed,
        progress=progress,
    )
    optimum = uninterrupted(search(posterior))
    if not config.posterior.maximize_evidence:
        return posterior, optimum
    for _ in range(TUNING_PASSES):
        tuned: TunedPosterior = maximize_evidence(posterior, optimum, progress=progress)
        followed = tuned.tuning.optimum
        optimum = uninterrupted(search(tuned, start=followed.weights))
        posterior = tuned
        if optimum.log_density <= followed.log_density + 1e-6:
            break
    return posterior, optimum


def _chains_of_a_mode(config: RunConfig, posterior: Posterior, n_modes: int) -> int:
    """Count the chains that stay in each of so many modes; all, where they cross."""
    move, given = config.sampling.move, config.sampling.num_chains
    if move == "auto":
        move = fitting_move(Target(posterior))
        move = "replica_exchange" if n_modes > 1 and move == "marginal_hmc" else move
    if move == "replica_exchange":
        return given or DEFAULT_SYSTEMS
    # Chains that begin at no optimum are of no mode.
    return (given or DEFAULT_CHAINS) // (1 if config.sampling.start == "prior" else n_modes)


def _check_chains(config: RunConfig, posterior: Posterior) -> None:
    """Refuse fewer chains than the modes take, and a move the network cannot have, before anything is searched for."""
    n_modes, move = config.sampling.n_modes, config.sampling.move
    if move == "marginal_hmc":
        try:
            posterior.marginal()
        except ArgumentError as error:
            raise ArgumentError("sampling.move", f"{move!r} for {posterior.network!r}", error.wants) from None
    if move == "microcanonical" and posterior.n_weights < 2:
        raise ArgumentError("sampling.move", f"{move!r} for one weight", "another: directions cannot turn there")
    if n_modes > 1 and _chains_of_a_mode(config, posterior, n_modes) < CHAINS_PER_MODE:
        got = f"{config.sampling.num_chains or DEFAULT_CHAINS} for n_modes = {n_modes}"
        raise ArgumentError("sampling.num_chains", got, f"at least {CHAINS_PER_MODE} for each mode")


def _least_samples(config: RunConfig, modes: LaplaceMixture) -> int:
    """Draws of each chain below which there are no more of a mode than weights, which the comparison takes."""
    laplace, n_modes = modes.best, len(modes.laplaces)
    return laplace.n_weights // _chains_of_a_mode(config, laplace.posterior, n_modes) + 1


def _enough_samples(config: RunConfig, modes: LaplaceMixture) -> int:
    """Draws of each chain: as many as are wanted, or as the comparison takes."""
    return max(config.sampling.num_samples, _least_samples(config, modes))


def _modes(posterior: Posterior, optimum: Optimum, config: RunConfig) -> LaplaceMixture:
    """Return the Gaussians at the best optima, as many as are asked for; of all but the first, certified ones."""
    certified = [other for other in optimum.others if other.certificate.is_optimum]
    chosen = [optimum, *certified[: config.sampling.n_modes - 1]]
    return LaplaceMixture([fit_laplace(posterior, each, curvature=config.laplace.curvature) for each in chosen])


def _weightings(tree: xr.DataTree) -> list[str]:
    """Name the weightings of several modes that the tree allows."""
    if "modes" not in tree.children:
        return []
    return [name for name in MODE_WEIGHTINGS if name != "stacking" or "log_likelihood" in tree.children]


def load_data(config: RunConfig, base: Path) -> Dataset:
    """Read the data a run file names, paths from `base` on."""
    if config.data.name is not None:
        return datasets.load(config.data.name)
    assert config.data.path is not None  # parse_config wants one of the two
    return datasets.load_csv(base / config.data.path, config.data.target)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Generator[None]:
    begin = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - begin
