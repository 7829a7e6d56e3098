"""A block: a stretch of a job's records whose outcomes are kept and changed together.

A small job is one block; a large one is cut into chunks. The first outcome stored for a record wins, whatever comes
later, however it is cut: a run claims those of its records that nobody claimed before.
"""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from services.jobs.events import FAILED, UNDECIDED
from services.status.domain.event import render_failures
from services.status.domain.letters import UNPROCESSED, claim, claim_late, find_indexes, is_empty, overlay
from services.status.domain.profile import JobProfile
from services.status.domain.updates import TimedRun


class StoredRun(Struct, frozen=True, gc=False):
    """A run as it is kept: the letters that it won, and what readers will be shown of them.

    `rows` is kept as it came. `levels`, `events` and `details` speak of the failures won, in order, one part each.
    A late entry won nothing; it tells what became of records that had been given up.
    """

    first: int
    outcomes: str
    at_us: int
    rows: str = ""
    levels: str = ""
    events: str = ""
    details: str = ""
    is_late: bool = False

    def failure_parts(self, joined: str, separator: str) -> Iterator[tuple[int, str]]:
        """Index and part of one of the texts, for each failure that was won."""
        if FAILED not in self.outcomes:
            return
        for place, part in zip(find_indexes(self.outcomes, FAILED), joined.split(separator), strict=True):
            yield self.first + place, part


class Block(Struct, frozen=True, gc=False):
    """The outcomes of the records from `first` on; `version` 0 is not stored yet.

    `late` has the letters that came after their record was given up.
    """

    number: int
    first: int
    version: int
    outcomes: str
    late_outcomes: str
    runs: tuple[StoredRun, ...]

    @property
    def last_us(self) -> int:
        """When the latest of its outcomes came to be; 0 if there is none."""
        return max([entry.at_us for entry in self.runs if not entry.is_late], default=0)


def empty_block(number: int, first: int, size: int) -> Block:
    """A block of which nothing is known."""
    return Block(number, first, 0, UNDECIDED * size, UNDECIDED * size, ())


def build_block(number: int, first: int, size: int, *, version: int, runs: Sequence[StoredRun]) -> Block:
    """The block that these entries made."""
    letters = late = UNDECIDED * size
    for entry in runs:
        if entry.is_late:
            late = overlay(late, entry.first - first, entry.outcomes)
        else:
            letters = overlay(letters, entry.first - first, entry.outcomes)
    return Block(number, first, version, letters, late, tuple(runs))


def merge_runs(block: Block, runs: Sequence[TimedRun], profile: JobProfile) -> tuple[Block, tuple[StoredRun, ...]]:
    """The block after these runs, which must lie within it, and the entries added: none if nothing was new."""
    letters, late = block.outcomes, block.late_outcomes
    added: list[StoredRun] = []
    for dated in runs:
        run, at = dated.run, dated.run.first - block.first
        if UNPROCESSED in letters:
            lately = claim_late(letters, late, at, run.outcomes)
            if not is_empty(lately):
                late = overlay(late, at, lately)
                added.append(StoredRun(run.first, lately, dated.at_us, run.rows, is_late=True))
        won = claim(letters, at, run.outcomes)
        if not is_empty(won):
            letters = overlay(letters, at, won)
            added.append(_store_run(dated, won, profile))
    if not added:
        return block, ()
    entries = (*block.runs, *added)
    return Block(block.number, block.first, block.version + 1, letters, late, entries), tuple(added)


def _store_run(dated: TimedRun, won: str, profile: JobProfile) -> StoredRun:
    run = dated.run
    if FAILED not in won:
        return StoredRun(run.first, won, dated.at_us, run.rows)
    kept = run.failures
    if won != run.outcomes:
        kept = [failure for failure in kept if won[failure.index - run.first] == FAILED]
    return StoredRun(run.first, won, dated.at_us, run.rows, *render_failures(kept, dated.at_us, profile))
