"""Outcomes of consecutive records of a job, as they are stored and merged.

A small job is one block; a large one is cut into chunks. The first outcome stored for a record wins, in whatever order
and however cut the runs come: a run claims those of its records that are still undecided.
"""

from collections.abc import Iterator, Sequence
from enum import Flag, auto

from msgspec import Struct

from services.jobs.events import FAILED, SUCCEEDED, UNDECIDED
from services.status.domain.event import render_failures
from services.status.domain.profile import JobProfile
from services.status.domain.updates import UNPROCESSED, TimedRun


class Projection(Flag):
    """Optional fields of stored runs; a query loads only those that its answer needs."""

    ROWS = auto()
    EVENTS = auto()
    DETAILS = auto()


NO_PROJECTION = Projection(0)
FAULT_EVENTS = Projection.EVENTS
ALL_EVENTS = Projection.EVENTS | Projection.ROWS
RECORDS = Projection.ROWS | Projection.DETAILS


class StoredRun(Struct, frozen=True, gc=False):
    """The outcomes that a run won, and what readers are shown of them.

    `rows` is stored as it came. `levels`, `events` and `details` have one part for each failure won, in order.
    A late run won nothing; it holds the outcomes of records that had expired before.
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
        """Split `levels`, `events` or `details` into index and part of each failure."""
        if FAILED not in self.outcomes:
            return
        for index, part in zip(find_indexes(self.outcomes, FAILED), joined.split(separator), strict=True):
            yield self.first + index, part


class Block(Struct, frozen=True, gc=False):
    """The outcomes of the records from `first` on.

    `late_outcomes` holds the outcomes that came after their record had expired.
    """

    number: int
    first: int
    outcomes: str
    late_outcomes: str
    runs: tuple[StoredRun, ...]

    @property
    def version(self) -> int:
        """Its number of runs: they are only added, and every write adds some."""
        return len(self.runs)

    @property
    def last_us(self) -> int:
        """When its latest outcome came; 0 if there is none."""
        # A block of a small job has one run most often.
        times = [run.at_us for run in self.runs if not run.is_late]
        return times[0] if len(times) == 1 else max(times, default=0)


def empty_block(number: int, first: int, size: int) -> Block:
    """A block without outcomes."""
    return Block(number, first, UNDECIDED * size, UNDECIDED * size, ())


def build_block(number: int, first: int, size: int, runs: Sequence[StoredRun]) -> Block:
    """Rebuild a block from its stored runs."""
    outcomes = late = UNDECIDED * size
    for run in runs:
        if run.is_late:
            late = overlay(late, run.first - first, run.outcomes)
        else:
            outcomes = overlay(outcomes, run.first - first, run.outcomes)
    return Block(number, first, outcomes, late, tuple(runs))


def merge_runs(block: Block, runs: Sequence[TimedRun], profile: JobProfile) -> tuple[Block, tuple[StoredRun, ...]]:
    """Merge runs, which must lie within the block, into it.

    Returns the new block and the runs added to it; the same block and none if nothing was new.
    """
    outcomes, late = block.outcomes, block.late_outcomes
    added: list[StoredRun] = []
    for timed in runs:
        run, at = timed.run, timed.run.first - block.first
        if UNPROCESSED in outcomes:
            won_late = claim_late(outcomes, late, at, run.outcomes)
            if not is_empty(won_late):
                late = overlay(late, at, won_late)
                added.append(StoredRun(run.first, won_late, timed.at_us, run.rows, is_late=True))
        won = claim(outcomes, at, run.outcomes)
        if not is_empty(won):
            outcomes = overlay(outcomes, at, won)
            added.append(_store_run(timed, won, profile))
    if not added:
        return block, ()
    return Block(block.number, block.first, outcomes, late, (*block.runs, *added)), tuple(added)


def _store_run(timed: TimedRun, won: str, profile: JobProfile) -> StoredRun:
    run = timed.run
    if FAILED not in won:
        return StoredRun(run.first, won, timed.at_us, run.rows)
    failures = run.failures
    if won != run.outcomes:
        failures = [failure for failure in failures if won[failure.index - run.first] == FAILED]
    return StoredRun(run.first, won, timed.at_us, run.rows, *render_failures(failures, timed.at_us, profile))


def claim(outcomes: str, at: int, claimed: str) -> str:
    """The claimed outcomes, from offset `at` on, whose record is undecided; the others become undecided."""
    span = outcomes[at : at + len(claimed)]
    if not span.strip(UNDECIDED):
        return claimed
    return "".join(new if old == UNDECIDED else UNDECIDED for old, new in zip(span, claimed, strict=True))


def claim_late(outcomes: str, late: str, at: int, claimed: str) -> str:
    """The claimed outcomes whose record has expired and has no late outcome yet."""
    span, late_span = outcomes[at : at + len(claimed)], late[at : at + len(claimed)]
    return "".join(
        new if old == UNPROCESSED and old_late == UNDECIDED and new in (SUCCEEDED, FAILED) else UNDECIDED
        for old, old_late, new in zip(span, late_span, claimed, strict=True)
    )


def overlay(outcomes: str, at: int, won: str) -> str:
    """The outcomes with those that were won written over them."""
    span = outcomes[at : at + len(won)]
    if not span.strip(UNDECIDED):
        if len(span) == len(outcomes):
            return won
    else:
        won = "".join(old if new == UNDECIDED else new for old, new in zip(span, won, strict=True))
    return outcomes[:at] + won + outcomes[at + len(won) :]


def is_empty(outcomes: str) -> bool:
    """Whether all records are undecided."""
    return not outcomes.strip(UNDECIDED)


def decided_prefix(outcomes: str) -> int:
    """How many records are decided before the first undecided one."""
    index = outcomes.find(UNDECIDED)
    return len(outcomes) if index < 0 else index


def find_indexes(outcomes: str, outcome: str) -> Iterator[int]:
    """The indexes of an outcome, ascending."""
    index = outcomes.find(outcome)
    while index >= 0:
        yield index
        index = outcomes.find(outcome, index + 1)


def count_outcomes(outcomes: str) -> tuple[int, int, int]:
    """How many records succeeded, failed and stayed unprocessed."""
    # Most records succeed: counting the rare outcomes is faster.
    failed, unprocessed = outcomes.count(FAILED), outcomes.count(UNPROCESSED)
    return len(outcomes) - failed - unprocessed - outcomes.count(UNDECIDED), failed, unprocessed
