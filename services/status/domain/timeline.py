"""The events of a block that lie in a span, in order."""

from collections.abc import Iterable, Iterator
from itertools import compress, pairwise, repeat

from msgspec import Struct

from services.jobs.events import FAILED
from services.status.domain.block import Block, StoredRun
from services.status.domain.cursor import Position, ResolvedRange
from services.status.domain.detail import detail_events
from services.status.domain.event import (
    FAILURE_SEPARATOR,
    FAULT_SEPARATOR,
    LEVELS_SEPARATOR,
    SUMMARY,
    render_expired_event,
)
from services.status.domain.frame import EventTemplate, to_json_string
from services.status.domain.job import Job
from services.status.domain.letters import UNPROCESSED, find_indexes
from services.status.domain.profile import JobProfile
from services.status.domain.summary import job_name

# A position and an event's JSON text; the position is a plain tuple, since thousands of them make a page.
PositionedEvent = tuple[tuple[int, int], str]


class StoredBlockEvents(Struct, frozen=True, gc=False):
    """All events of a block as they are stored: in texts of several, joined as the elements of a JSON array."""

    count: int
    fragments: list[str]


def stored_block_events(block: Block, resolved: ResolvedRange) -> StoredBlockEvents | None:
    """The events of the block's faults, as stored; None if some lie outside the span or runs are interleaved."""
    if (
        (block.first, 0) < resolved.start
        or resolved.end < (block.first + len(block.outcomes), 0)
        or UNPROCESSED in block.outcomes
    ):
        return None
    failing = sorted([entry for entry in block.runs if entry.levels], key=_first_index)
    if any(entry.first + len(entry.outcomes) > after.first for entry, after in pairwise(failing)):
        return None
    count = sum(len(entry.levels) - entry.levels.count(LEVELS_SEPARATOR) for entry in failing)
    return StoredBlockEvents(count, [entry.events for entry in failing])


def render_block_events(
    block: Block, profile: JobProfile, resolved: ResolvedRange, *, show_all: bool
) -> list[PositionedEvent]:
    """Positions and JSON texts, ascending. The span must not reach beyond what is published."""
    found: list[PositionedEvent] = []
    for entry in block.runs:
        if not entry.is_late and _overlaps(entry, resolved):
            found.extend(_fault_events(entry))
            if UNPROCESSED in entry.outcomes:
                found.extend(_expired_events(entry, EventTemplate(profile, entry.at_us)))
            if show_all:
                found.extend(detail_events(entry, EventTemplate(profile, entry.at_us)))
    # Runs come in order more often than not, and then this costs next to nothing.
    found.sort()
    if found and not (resolved.start <= found[0][0] and found[-1][0] < resolved.end):
        found = [placed for placed in found if resolved.start <= placed[0] < resolved.end]
    return found


def render_summary_event(job: Job) -> PositionedEvent:
    """The last event of a job that has ended."""
    total = job.profile.total
    frame = EventTemplate(job.profile, job.last_us)
    return Position(total, 0), frame.render(total, 0, to_json_string(job_name(job)), SUMMARY, frame.default_attributes)


def _first_index(entry: StoredRun) -> int:
    return entry.first


def _overlaps(entry: StoredRun, span: ResolvedRange) -> bool:
    return entry.first <= span.end.record_index and entry.first + len(entry.outcomes) > span.start.record_index


def _fault_events(entry: StoredRun) -> Iterable[PositionedEvent]:
    if FAULT_SEPARATOR in entry.events:
        return _multi_fault_events(entry)
    if FAILED not in entry.outcomes:
        return ()
    indexes = compress(range(entry.first, entry.first + len(entry.outcomes)), map(FAILED.__eq__, entry.outcomes))
    return zip(zip(indexes, repeat(0), strict=False), entry.events.split(FAILURE_SEPARATOR), strict=True)


def _multi_fault_events(entry: StoredRun) -> Iterator[PositionedEvent]:
    for index, texts in entry.failure_parts(entry.events, FAILURE_SEPARATOR):
        for fault, text in enumerate(texts.split(FAULT_SEPARATOR)):
            yield (index, fault), text


def _expired_events(entry: StoredRun, frame: EventTemplate) -> Iterator[PositionedEvent]:
    for place in find_indexes(entry.outcomes, UNPROCESSED):
        index = entry.first + place
        yield (index, 0), render_expired_event(frame, index)
