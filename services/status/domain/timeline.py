"""The events of a block within a range of positions, in order."""

from collections.abc import Iterable, Iterator
from itertools import compress, pairwise, repeat
from operator import attrgetter

from msgspec import Struct

from services.jobs.events import FAILED, SUCCEEDED
from services.status.domain.block import Block, StoredRun, find_indexes
from services.status.domain.event import (
    DETAIL,
    FAILURE_SEPARATOR,
    FAULT_SEPARATOR,
    LEVELS_SEPARATOR,
    SUMMARY,
    EventTemplate,
    render_expired_event,
    to_json_string,
)
from services.status.domain.job import Job
from services.status.domain.page_range import Position, ResolvedRange
from services.status.domain.profile import JobProfile
from services.status.domain.rows import RecordIds, parse_rows
from services.status.domain.summary import job_name
from services.status.domain.updates import UNPROCESSED

# A position and an event's JSON text; the position is a plain tuple, since a page has thousands of them.
PositionedEvent = tuple[tuple[int, int], str]


class StoredBlockEvents(Struct, frozen=True, gc=False):
    """All events of a block as they are stored: each fragment has several, joined as elements of a JSON array."""

    count: int
    fragments: list[str]


def stored_block_events(block: Block, resolved: ResolvedRange) -> StoredBlockEvents | None:
    """The block's fault events as stored; None if some are outside the range or runs are interleaved."""
    if (block.first, 0) < resolved.start or resolved.end < (block.first + len(block.outcomes), 0):
        return None
    if UNPROCESSED in block.outcomes:
        return None
    failing = sorted([run for run in block.runs if run.levels], key=attrgetter("first"))
    if any(run.first + len(run.outcomes) > following.first for run, following in pairwise(failing)):
        return None
    count = sum(len(run.levels) - run.levels.count(LEVELS_SEPARATOR) for run in failing)
    return StoredBlockEvents(count, [run.events for run in failing])


def render_block_events(
    block: Block, profile: JobProfile, resolved: ResolvedRange, *, show_all: bool
) -> list[PositionedEvent]:
    """Positions and JSON texts of the block's events, ascending. The range must not exceed what is published."""
    found: list[PositionedEvent] = []
    for run in block.runs:
        if not run.is_late and _overlaps(run, resolved):
            found.extend(_fault_events(run))
            if UNPROCESSED in run.outcomes:
                found.extend(_expired_events(run, EventTemplate(profile, run.at_us)))
            if show_all:
                found.extend(_detail_events(run, EventTemplate(profile, run.at_us)))
    # Runs usually come in order; sorting them then costs almost nothing.
    found.sort()
    if found and not (resolved.start <= found[0][0] and found[-1][0] < resolved.end):
        found = [event for event in found if resolved.start <= event[0] < resolved.end]
    return found


def render_summary_event(job: Job) -> PositionedEvent:
    """The last event of a job that has ended."""
    total = job.profile.total
    template = EventTemplate(job.profile, job.last_us)
    text = template.render(total, 0, to_json_string(job_name(job)), SUMMARY, template.default_attributes)
    return Position(total, 0), text


def _overlaps(run: StoredRun, resolved: ResolvedRange) -> bool:
    return run.first <= resolved.end.record_index and run.first + len(run.outcomes) > resolved.start.record_index


def _fault_events(run: StoredRun) -> Iterable[PositionedEvent]:
    if FAULT_SEPARATOR in run.events:
        return _multi_fault_events(run)
    if FAILED not in run.outcomes:
        return ()
    indexes = compress(range(run.first, run.first + len(run.outcomes)), map(FAILED.__eq__, run.outcomes))
    return zip(zip(indexes, repeat(0), strict=False), run.events.split(FAILURE_SEPARATOR), strict=True)


def _multi_fault_events(run: StoredRun) -> Iterator[PositionedEvent]:
    for index, texts in run.failure_parts(run.events, FAILURE_SEPARATOR):
        for fault, text in enumerate(texts.split(FAULT_SEPARATOR)):
            yield (index, fault), text


def _expired_events(run: StoredRun, template: EventTemplate) -> Iterator[PositionedEvent]:
    for position in find_indexes(run.outcomes, UNPROCESSED):
        index = run.first + position
        yield (index, 0), render_expired_event(template, index)


def _detail_events(run: StoredRun, template: EventTemplate) -> list[PositionedEvent]:
    """A DETAIL event for each record that succeeded, rendered from its row."""
    if SUCCEEDED not in run.outcomes:
        return []
    rows = parse_rows(run.rows, len(run.outcomes), job_type=template.job_type)
    found: list[PositionedEvent] = []
    for position in find_indexes(run.outcomes, SUCCEEDED):
        index, ids = run.first + position, rows[position]
        # A row is stored as it came: its mode can be any text.
        attributes = (
            template.default_attributes
            if ids.mode is None
            else template.base_attributes(to_json_string(ids.mode)[1:-1])
        )
        message, members = _message_and_ids(ids)
        text = template.render(index, 0, message, DETAIL, f'{attributes}{members},"index":{index}')
        found.append(((index, 0), text))
    return found


def _message_and_ids(ids: RecordIds) -> tuple[str, str]:
    """The message as a JSON string, and the ids as further members of an object; each id is encoded once."""
    if ids.order_id is None:
        return '"The record was accepted"', ""
    order = to_json_string(ids.order_id)
    if ids.return_id is None:
        return f'"Order {order[1:-1]} was accepted"', f',"orderId":{order}'
    return_ = to_json_string(ids.return_id)
    message = f'"Return {return_[1:-1]} of order {order[1:-1]} was accepted"'
    return message, f',"orderId":{order},"returnId":{return_}'
