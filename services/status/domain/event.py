"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot hold. Those of events are so joined that many
of them together can be the elements of a JSON array as they stand: to JSON a line break is a space.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from services.status.domain.facts import Failure
from services.status.domain.frame import Frame, json_text, member
from services.status.domain.profile import Profile

BETWEEN_FAILURES = ",\n"
BETWEEN_FAULTS = ",\t"
BETWEEN_DETAILS = "\n"
BETWEEN_LEVELS = ","
MOST_FAULTS = 20

WARNING, ERROR, SUMMARY, DETAIL = "WARNING", "ERROR", "SUMMARY", "DETAIL"
EXPIRED = "EXPIRED"
EXPIRED_MESSAGE = "The record was not processed before its job's deadline"

_check = msgspec.json.Decoder(msgspec.Raw).decode


class Told(NamedTuple):
    """What readers are shown of some failures: three texts, each with one part for every failure.

    `levels` has a letter per event, W or E. `events` has the events as JSON. `details` has what `/records` shows,
    members of a JSON object without its braces.
    """

    levels: str
    events: str
    details: str


def told_of(failures: Sequence[Failure], at_us: int, profile: Profile) -> Told:
    """All that will be shown of failures that came to be at this time."""
    frame = Frame(profile, at_us)
    levels: list[str] = []
    events: list[str] = []
    details: list[str] = []
    # Where many records fail, status does little else than this: one pass, and each text put into JSON once.
    for failure in failures:
        level_letters, event_texts, shown = "", "", ""
        named = _named(failure, frame)
        for number, fault in enumerate(failure.faults[:MOST_FAULTS]):
            what, message, level = _code_and_field(fault.code, fault.field), json_text(fault.message), fault.level
            if number:
                event_texts, shown = event_texts + BETWEEN_FAULTS, shown + ","
            level_letters += level[0]
            event_texts += frame.event(
                failure.index, number, message, level, f"{named},{what}{member('productId', fault.product_id)}"
            )
            shown += f'{{{what},"message":{message},"retryable":{"true" if fault.retryable else "false"}}}'
        levels.append(level_letters)
        events.append(event_texts)
        details.append(f'"faults":[{shown}]{_record(failure.record)}')
    return Told(BETWEEN_LEVELS.join(levels), BETWEEN_FAILURES.join(events), BETWEEN_DETAILS.join(details))


def expired_event(frame: Frame, index: int) -> str:
    """The system's own fault: the record's answer did not come in time."""
    attributes = f'{frame.usual_attributes},"index":{index},"code":"{EXPIRED}"'
    return frame.event(index, 0, json_text(EXPIRED_MESSAGE), ERROR, attributes)


def _named(failure: Failure, frame: Frame) -> str:
    """The attributes that all events of a failure begin with."""
    first = frame.usual_attributes
    if failure.mode != frame.usual_mode:
        first = frame.first_attributes(failure.mode)
    ids = member("orderId", failure.order_id) + member("returnId", failure.return_id)
    return f'{first}{ids},"index":{failure.index}'


@lru_cache(maxsize=4096)
def _code_and_field(code: str, field: str) -> str:
    """Both as members of an object: there are few such pairs."""
    return f'"code":{json_text(code)},"field":{json_text(field)}'


def _record(text: str | None) -> str:
    return "" if text is None else f',"record":{_on_one_line(text)}'


def _on_one_line(text: str) -> str:
    """The text if it is JSON, without line breaks; otherwise the text as a JSON string."""
    try:
        _check(text)
        return msgspec.json.format(text, indent=-1) if "\n" in text or "\r" in text else text
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return json_text(text)
