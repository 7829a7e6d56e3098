"""Large jobs are kept in chunks; the job itself then holds one tally per chunk.

A chunk is written first. Its tally, in the job, publishes it: readers are shown published prefixes only, and those
never change.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.jobs.events import FAILED, OutcomeRun
from services.status.domain.block import Block
from services.status.domain.event import ERROR, LEVELS_SEPARATOR, WARNING
from services.status.domain.letters import count_outcomes, decided_prefix
from services.status.domain.rows import slice_rows
from services.status.domain.updates import TimedRun

MAX_SMALL_JOB_RECORDS = 100
CHUNK_SIZE = 500


class Tally(Struct, frozen=True, array_like=True, gc=False):
    """What is published of a block.

    The first four speak of the whole block, the others of its decided prefix: `warnings` and `errors` count the events
    of failures in it.
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
    """Whether a job of so many records is kept in chunks."""
    return total > MAX_SMALL_JOB_RECORDS


def chunk_count(total: int) -> int:
    """How many chunks a large job has."""
    return (total + CHUNK_SIZE - 1) // CHUNK_SIZE


def chunk_size(number: int, total: int) -> int:
    """How many records a chunk holds."""
    return min(CHUNK_SIZE, total - number * CHUNK_SIZE)


def split_by_chunk(runs: Sequence[TimedRun], total: int) -> dict[int, list[TimedRun]]:
    """The runs cut at the borders of chunks; what lies beyond the total is left out."""
    found: dict[int, list[TimedRun]] = {}
    for dated in runs:
        for number, run in split_run(dated.run, CHUNK_SIZE, total):
            found.setdefault(number, []).append(TimedRun(dated.at_us, run))
    return found


def clip_runs(runs: Sequence[TimedRun], total: int) -> Sequence[TimedRun]:
    """The runs of a small job, without what lies beyond its total."""
    if not [dated for dated in runs if dated.run.end > total]:
        return runs
    return [TimedRun(dated.at_us, run) for dated in runs for _, run in split_run(dated.run, total, total)]


def split_run(run: OutcomeRun, size: int, total: int) -> Iterator[tuple[int, OutcomeRun]]:
    """The parts of a run by the number of the block they fall into."""
    end = min(run.end, total)
    if end <= run.first:
        return
    if run.first // size == (run.end - 1) // size and run.end == end:
        yield run.first // size, run
        return
    for number in range(run.first // size, (end - 1) // size + 1):
        yield number, _slice_run(run, max(run.first, number * size), min(end, (number + 1) * size))


def _slice_run(run: OutcomeRun, start: int, end: int) -> OutcomeRun:
    at, until = start - run.first, end - run.first
    return OutcomeRun(
        first=start,
        outcomes=run.outcomes[at:until],
        rows=slice_rows(run.rows, at, until),
        failures=[failure for failure in run.failures if start <= failure.index < end],
    )


def build_tally(block: Block) -> Tally:
    """What there is to publish of a block."""
    letters, decided = block.outcomes, decided_prefix(block.outcomes)
    whole = succeeded, failed, unprocessed = count_outcomes(letters)
    shown_succeeded, _, shown_unprocessed = whole if decided == len(letters) else count_outcomes(letters[:decided])
    levels = levels_in_prefix(block, decided)
    return Tally(
        block.version,
        succeeded,
        failed,
        unprocessed,
        decided,
        shown_succeeded,
        shown_unprocessed,
        levels.count(WARNING[0]),
        levels.count(ERROR[0]) + shown_unprocessed,
        block.last_us,
    )


def levels_in_prefix(block: Block, decided: int) -> str:
    """The levels of all events of failures among the first so many records, in no particular order."""
    if FAILED not in block.outcomes:
        return ""
    if decided == len(block.outcomes):
        return "".join([entry.levels for entry in block.runs])
    end = block.first + decided
    return "".join(
        levels for e in block.runs for index, levels in e.failure_parts(e.levels, LEVELS_SEPARATOR) if index < end
    )
