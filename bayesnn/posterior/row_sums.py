"""Sums over blocks of rows, wherever the data are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce

from bayesnn.arrays import ArrayLike, FloatArray
from bayesnn.executors import add, is_dask, n_cores, sum_by_dask, sum_in_threads
from bayesnn.models import MLP, Model
from bayesnn.posterior.blocks import Sums
from bayesnn.posterior.data import TrainingData
from bayesnn.posterior.gaussian import Gaussian
from bayesnn.posterior.likelihood import Likelihood
from bayesnn.threads import on_one_blas_thread

# Outputs held at a time over all chains: 2**17 doubles with their hidden units stay near the L2 cache.
OUTPUTS_AT_A_TIME = 2**17
# Elements of the Jacobian held at a time by each thread: 2**20 doubles are 8 MiB, which come in huge pages, and few
# enough calls that two threads do not wait for the interpreter. Several chains share a block only while it stays near
# the L2 cache; beyond, one matrix product a chain is as fast.
JACOBIAN_AT_A_TIME = 2**20
CACHED_JACOBIAN = 2**17
# Elements of the widest layer held at a time by each thread where no Jacobian is formed.
UNITS_AT_A_TIME = 2**17
# No block is planned for fewer rows: calls would cost more than numbers.
LEAST_ROWS = 64

type BlockFunction = Callable[[Model, FloatArray, Likelihood, FloatArray, FloatArray], Sums]


@dataclass(frozen=True)
class RowSums:
    """Data under a model and a likelihood, summed a block of rows at a time.

    Parameters
    ----------
    model : Model
        The network, with what the likelihood infers beside it.
    likelihood : Likelihood
        Of all rows.
    data : TrainingData
        The rows.
    """

    model: Model
    likelihood: Likelihood
    data: TrainingData

    @staticmethod
    def of(model: Model, likelihood: Likelihood, x: ArrayLike, y: ArrayLike) -> "RowSums":
        """Take data in; ArgumentError if they do not fit the model or the likelihood."""
        check_targets = partial(_check_targets, likelihood, model.n_outputs)
        data = TrainingData.of(x, y, model.check_inputs, check_targets)
        if isinstance(likelihood, Gaussian):
            likelihood.check_rows(data.n_rows)
        return RowSums(model, likelihood, data)

    @property
    def together(self) -> int:
        """Weight vectors whose Jacobians of all rows stay near the cache together."""
        return max(1, CACHED_JACOBIAN // (self.data.n_rows * self.model.n_outputs * self.model.n_weights))

    def output_blocks(self, n_chains: int) -> list[slice]:
        """Return blocks of rows for outputs of so many chains."""
        return self._blocks(OUTPUTS_AT_A_TIME // max(1, n_chains * self.model.n_outputs))

    def jacobian_blocks(self) -> list[slice]:
        """Return blocks of rows for the Jacobian of one chain."""
        return self._blocks(JACOBIAN_AT_A_TIME // (self.model.n_weights * self.model.n_outputs))

    def diagonal_blocks(self) -> list[slice]:
        """Return blocks of rows for the diagonal of B'Lambda B of one chain."""
        if isinstance(self.model, MLP) and self.likelihood.has_diagonal_fisher:
            return self._blocks(UNITS_AT_A_TIME // max(self.model.widths))
        return self.jacobian_blocks()

    def block(self, rows: slice) -> tuple[FloatArray, FloatArray, Likelihood]:
        """Return inputs, targets and likelihood of some rows."""
        whole = rows.start == 0 and rows.stop == self.data.n_rows
        return *self.data.block(rows), self.likelihood if whole else self.likelihood.rows(rows)

    def sum(self, function: BlockFunction, weights: FloatArray, blocks: list[slice]) -> Sums:
        """Sum what `function` returns over blocks of rows, on all cores if that is worth it."""
        x = self.data.x
        if is_dask(x):
            step = blocks[0].stop - blocks[0].start
            checks = self.data.without_arrays()
            on_chunk = partial(_on_chunk, function, self.model, weights, self.likelihood, checks, step)
            return sum_by_dask(on_chunk, x, self.data.y)
        if len(blocks) == 1:
            return on_one_blas_thread(self._on_block)(function, weights, blocks[0])
        tasks = (partial(self._on_block, function, weights, rows) for rows in blocks)
        return sum_in_threads(tasks, n_cores() if getattr(self.model, "runs_in_threads", False) else 1)

    def _blocks(self, rows_at_a_time: int) -> list[slice]:
        """Cut the rows into blocks equally long, so that cores end together; two where one would be over half full."""
        most, n_rows = max(LEAST_ROWS, rows_at_a_time), self.data.n_rows
        n_blocks = -(-n_rows // most)
        if n_blocks == 1 and n_rows > max(LEAST_ROWS, most // 2):
            n_blocks = 2
        step = -(-n_rows // n_blocks)
        return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]

    def _on_block(self, function: BlockFunction, weights: FloatArray, rows: slice) -> Sums:
        x, y, likelihood = self.block(rows)
        return function(self.model, weights, likelihood, x, y)


def _check_targets(likelihood: Likelihood, n_outputs: int, y: ArrayLike, n_rows: int, rows: slice) -> FloatArray:
    return likelihood.rows(rows).check_targets(y, n_rows, n_outputs)


def _on_chunk(
    function: BlockFunction,
    model: Model,
    weights: FloatArray,
    likelihood: Likelihood,
    data: TrainingData,
    step: int,
    x: FloatArray,
    y: FloatArray,
    rows: slice,
) -> Sums:
    """Run `function` on one chunk of a dask array, where that chunk is, a block of `step` rows at a time."""
    inputs, targets = data.checked(x, y, rows)
    parts = (
        function(
            model,
            weights,
            likelihood.rows(slice(rows.start + start, rows.start + min(start + step, len(inputs)))),
            inputs[start : start + step],
            targets[start : start + step],
        )
        for start in range(0, len(inputs), step)
    )
    return reduce(add, parts)
