"""The events of a block that lie in a span, in order."""

from collections.abc import Iterable, Iterator
from itertools import compress, pairwise, repeat

from msgspec import Struct

from services.status.domain.block import Block, Entry
from services.status.domain.cursor import Position, Span
from services.status.domain.detail import detail_events
from services.status.domain.event import BETWEEN_FAILURES, BETWEEN_FAULTS, BETWEEN_LEVELS, SUMMARY, expired_event
from services.status.domain.facts import FAILED, UNPROCESSED
from services.status.domain.frame import Frame, json_text
from services.status.domain.job import Job
from services.status.domain.letters import places
from services.status.domain.profile import Profile
from services.status.domain.summary import name_of

# A position and an event's JSON text; the position is a plain tuple, since thousands of them make a page.
Placed = tuple[tuple[int, int], str]


class Whole(Struct, frozen=True, gc=False):
    """All events of a block as they are stored: in texts of several, joined as the elements of a JSON array."""

    count: int
    texts: list[str]


def whole_of(block: Block, span: Span) -> Whole | None:
    """The events of the block's faults, as stored; None if some lie outside the span or runs are interleaved."""
    if (block.first, 0) < span.low or span.high < (block.first + len(block.letters), 0) or UNPROCESSED in block.letters:
        return None
    failing = sorted([entry for entry in block.entries if entry.levels], key=_first)
    if any(entry.first + len(entry.letters) > after.first for entry, after in pairwise(failing)):
        return None
    count = sum(len(entry.levels) - entry.levels.count(BETWEEN_LEVELS) for entry in failing)
    return Whole(count, [entry.events for entry in failing])


def events_in(block: Block, profile: Profile, span: Span, *, show_all: bool) -> list[Placed]:
    """Positions and JSON texts, ascending. The span must not reach beyond what is published."""
    found: list[Placed] = []
    for entry in block.entries:
        if not entry.is_late and _meets(entry, span):
            found.extend(_faults(entry))
            if UNPROCESSED in entry.letters:
                found.extend(_expired(entry, Frame(profile, entry.at_us)))
            if show_all:
                found.extend(detail_events(entry, Frame(profile, entry.at_us)))
    # Runs come in order more often than not, and then this costs next to nothing.
    found.sort()
    if found and not (span.low <= found[0][0] and found[-1][0] < span.high):
        found = [placed for placed in found if span.low <= placed[0] < span.high]
    return found


def summary_event(job: Job) -> Placed:
    """The last event of a job that has ended."""
    total = job.profile.total
    frame = Frame(job.profile, job.last_us)
    return Position(total, 0), frame.event(total, 0, json_text(name_of(job)), SUMMARY, frame.usual_attributes)


def _first(entry: Entry) -> int:
    return entry.first


def _meets(entry: Entry, span: Span) -> bool:
    return entry.first <= span.high.record and entry.first + len(entry.letters) > span.low.record


def _faults(entry: Entry) -> Iterable[Placed]:
    if BETWEEN_FAULTS in entry.events:
        return _several(entry)
    if FAILED not in entry.letters:
        return ()
    indexes = compress(range(entry.first, entry.first + len(entry.letters)), map(FAILED.__eq__, entry.letters))
    return zip(zip(indexes, repeat(0), strict=False), entry.events.split(BETWEEN_FAILURES), strict=True)


def _several(entry: Entry) -> Iterator[Placed]:
    for index, texts in entry.failures(entry.events, BETWEEN_FAILURES):
        for fault, text in enumerate(texts.split(BETWEEN_FAULTS)):
            yield (index, fault), text


def _expired(entry: Entry, frame: Frame) -> Iterator[Placed]:
    for place in places(entry.letters, UNPROCESSED):
        index = entry.first + place
        yield (index, 0), expired_event(frame, index)
