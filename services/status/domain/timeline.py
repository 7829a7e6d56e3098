"""The events of a block that lie in a span, in order."""

from collections.abc import Iterator

from services.status.domain.block import Block, Entry
from services.status.domain.cursor import Position, Span
from services.status.domain.detail import detail_events
from services.status.domain.event import BETWEEN_FAILURES, BETWEEN_FAULTS, SUMMARY, expired_event
from services.status.domain.facts import UNPROCESSED
from services.status.domain.frame import Frame
from services.status.domain.job import Job
from services.status.domain.letters import places
from services.status.domain.profile import Profile
from services.status.domain.report import name_of

Placed = tuple[Position, str]


def events_in(block: Block, profile: Profile, span: Span, *, show_all: bool) -> list[Placed]:
    """Positions and JSON texts, ascending. The span must not reach beyond what is published."""
    found: list[Placed] = []
    for entry in block.entries:
        if not entry.is_late and _meets(entry, span):
            found.extend(_faults(entry))
            if show_all or UNPROCESSED in entry.letters:
                found.extend(_made(entry, Frame(profile, entry.at_us), show_all=show_all))
    found = [placed for placed in found if span.low <= placed[0] < span.high]
    found.sort()
    return found


def summary_event(job: Job) -> Placed:
    """The last event of a job that has ended."""
    total = job.profile.total
    frame = Frame(job.profile, job.last_us)
    return Position(total, 0), frame.event(total, 0, name_of(job), SUMMARY, frame.first_attributes(frame.mode))


def _meets(entry: Entry, span: Span) -> bool:
    return entry.first <= span.high.record and entry.first + len(entry.letters) > span.low.record


def _faults(entry: Entry) -> Iterator[Placed]:
    for index, texts in entry.failures(entry.events, BETWEEN_FAILURES):
        if BETWEEN_FAULTS not in texts:
            yield Position(index, 0), texts
            continue
        for fault, text in enumerate(texts.split(BETWEEN_FAULTS)):
            yield Position(index, fault), text


def _made(entry: Entry, frame: Frame, *, show_all: bool) -> Iterator[Placed]:
    """Events that are not stored."""
    for place in places(entry.letters, UNPROCESSED):
        index = entry.first + place
        yield Position(index, 0), expired_event(frame, index)
    if show_all:
        for index, text in detail_events(entry, frame):
            yield Position(index, 0), text
