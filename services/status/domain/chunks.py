"""Large jobs are stored in chunks; the job itself then holds one tally per chunk.

A chunk is written first; its tally in the job publishes it. Readers are shown published prefixes only, and those never
change.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.jobs.events import ERROR, FAILED, WARNING, OutcomeRun
from services.status.domain.block import Block, build_block, count_outcomes, decided_prefix
from services.status.domain.event import LEVELS_SEPARATOR
from services.status.domain.rows import slice_rows
from services.status.domain.updates import TimedRun

MAX_SMALL_JOB_RECORDS = 100
CHUNK_SIZE = 500


class Tally(Struct, frozen=True, array_like=True, gc=False):
    """The published counts of a block.

    `version` is the block's. The next three count the whole block, the others its decided prefix. `warnings` and
    `errors` count the events of the failures in it.
    """

    version: int = 0
    succeeded: int = 0
    failed: int = 0
    unprocessed: int = 0
    prefix: int = 0
    prefix_succeeded: int = 0
    prefix_unprocessed: int = 0
    warnings: int = 0
    errors: int = 0
    last_us: int = 0

    @property
    def decided_count(self) -> int:
        """How many of the block's records are decided."""
        return self.succeeded + self.failed + self.unprocessed


EMPTY_TALLY = Tally()


def is_large(total: int) -> bool:
    """Whether a job with `total` records is stored in chunks."""
    return total > MAX_SMALL_JOB_RECORDS


def chunk_count(total: int) -> int:
    """How many chunks a large job has."""
    return (total + CHUNK_SIZE - 1) // CHUNK_SIZE


def chunk_size(number: int, total: int) -> int:
    """How many records a chunk holds."""
    return min(CHUNK_SIZE, total - number * CHUNK_SIZE)


def split_by_chunk(runs: Sequence[TimedRun], total: int) -> dict[int, list[TimedRun]]:
    """Cut the runs at chunk boundaries, and drop what lies beyond the job's total."""
    chunks: dict[int, list[TimedRun]] = {}
    for timed in runs:
        for number, run in split_run(timed.run, CHUNK_SIZE, total):
            chunks.setdefault(number, []).append(TimedRun(timed.at_us, run))
    return chunks


def clip_runs(runs: Sequence[TimedRun], total: int) -> Sequence[TimedRun]:
    """The runs of a small job without what lies beyond its total."""
    if not [timed for timed in runs if timed.run.end > total]:
        return runs
    return [TimedRun(timed.at_us, run) for timed in runs for _, run in split_run(timed.run, total, total)]


def split_run(run: OutcomeRun, size: int, total: int) -> Iterator[tuple[int, OutcomeRun]]:
    """Cut a run into the parts that fall into blocks of `size`; yields each part with its block's number."""
    end = min(run.end, total)
    if end <= run.first:
        return
    if run.first // size == (run.end - 1) // size and run.end == end:
        yield run.first // size, run
        return
    for number in range(run.first // size, (end - 1) // size + 1):
        yield number, _slice_run(run, max(run.first, number * size), min(end, (number + 1) * size))


def _slice_run(run: OutcomeRun, start: int, end: int) -> OutcomeRun:
    low, high = start - run.first, end - run.first
    return OutcomeRun(
        first=start,
        outcomes=run.outcomes[low:high],
        rows=slice_rows(run.rows, low, high),
        failures=[failure for failure in run.failures if start <= failure.index < end],
    )


def build_tally(block: Block) -> Tally:
    """Count what a block has to publish."""
    outcomes, prefix = block.outcomes, decided_prefix(block.outcomes)
    counts = succeeded, failed, unprocessed = count_outcomes(outcomes)
    in_prefix = counts if prefix == len(outcomes) else count_outcomes(outcomes[:prefix])
    prefix_succeeded, _, prefix_unprocessed = in_prefix
    levels = levels_in_prefix(block, prefix)
    return Tally(
        block.version,
        succeeded,
        failed,
        unprocessed,
        prefix,
        prefix_succeeded,
        prefix_unprocessed,
        levels.count(WARNING[0]),
        levels.count(ERROR[0]) + prefix_unprocessed,
        block.last_us,
    )


def published_part(block: Block, tally: Tally) -> Block:
    """The block as its job has published it: without the runs that were stored later."""
    if block.version <= tally.version:
        return block
    return build_block(block.number, block.first, len(block.outcomes), block.runs[: tally.version])


def levels_in_prefix(block: Block, prefix: int) -> str:
    """The levels of all fault events among the first `prefix` records, in no particular order."""
    if FAILED not in block.outcomes:
        return ""
    if prefix == len(block.outcomes):
        return "".join([run.levels for run in block.runs])
    end = block.first + prefix
    return "".join(
        levels for run in block.runs for index, levels in run.failure_parts(run.levels, LEVELS_SEPARATOR) if index < end
    )
