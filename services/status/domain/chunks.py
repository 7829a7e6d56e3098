"""Large jobs are kept in chunks; the job itself then holds one tally per chunk.

A chunk is written first. Its tally, in the job, publishes it: readers are shown published prefixes only, and those
never change.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.status.domain.block import Block
from services.status.domain.event import BETWEEN_LEVELS, ERROR, WARNING
from services.status.domain.facts import FAILED, Run
from services.status.domain.letters import counted, prefix
from services.status.domain.rows import cut_rows
from services.status.domain.updates import Dated

SMALL = 100
SIZE = 500


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
    def decided(self) -> int:
        """How many of the block's records are decided."""
        return self.succeeded + self.failed + self.unprocessed


NOTHING = Tally()


def is_large(total: int) -> bool:
    """Whether a job of so many records is kept in chunks."""
    return total > SMALL


def count_of(total: int) -> int:
    """How many chunks a large job has."""
    return (total + SIZE - 1) // SIZE


def size_of(number: int, total: int) -> int:
    """How many records a chunk holds."""
    return min(SIZE, total - number * SIZE)


def by_chunk(runs: Sequence[Dated], total: int) -> dict[int, list[Dated]]:
    """The runs cut at the borders of chunks; what lies beyond the total is left out."""
    found: dict[int, list[Dated]] = {}
    for dated in runs:
        for number, run in split(dated.run, SIZE, total):
            found.setdefault(number, []).append(Dated(dated.at_us, run))
    return found


def clipped(runs: Sequence[Dated], total: int) -> Sequence[Dated]:
    """The runs of a small job, without what lies beyond its total."""
    if not [dated for dated in runs if dated.run.end > total]:
        return runs
    return [Dated(dated.at_us, run) for dated in runs for _, run in split(dated.run, total, total)]


def split(run: Run, size: int, total: int) -> Iterator[tuple[int, Run]]:
    """The parts of a run by the number of the block they fall into."""
    end = min(run.end, total)
    if end <= run.first:
        return
    if run.first // size == (run.end - 1) // size and run.end == end:
        yield run.first // size, run
        return
    for number in range(run.first // size, (end - 1) // size + 1):
        yield number, _part(run, max(run.first, number * size), min(end, (number + 1) * size))


def _part(run: Run, start: int, end: int) -> Run:
    at, until = start - run.first, end - run.first
    return Run(
        first=start,
        letters=run.letters[at:until],
        rows=cut_rows(run.rows, at, until),
        failures=[failure for failure in run.failures if start <= failure.index < end],
    )


def tally(block: Block) -> Tally:
    """What there is to publish of a block."""
    letters, decided = block.letters, prefix(block.letters)
    whole = succeeded, failed, unprocessed = counted(letters)
    shown_succeeded, _, shown_unprocessed = whole if decided == len(letters) else counted(letters[:decided])
    levels = levels_within(block, decided)
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


def levels_within(block: Block, decided: int) -> str:
    """The levels of all events of failures among the first so many records, in no particular order."""
    if FAILED not in block.letters:
        return ""
    if decided == len(block.letters):
        return "".join([entry.levels for entry in block.entries])
    end = block.first + decided
    return "".join(
        levels for e in block.entries for index, levels in e.failures(e.levels, BETWEEN_LEVELS) if index < end
    )
