"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot hold. Those of events are so joined that many
of them together can be the elements of a JSON array as they stand: to JSON a line break is a space.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from services.status.domain.facts import Failure
from services.status.domain.frame import Frame, json_text
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
    usual_mode, usual_attributes = frame.usual_mode, frame.usual_attributes
    levels: list[str] = []
    events: list[str] = []
    details: list[str] = []
    # Where many records fail, status does little else than this: one pass, few calls, and each text put into JSON once.
    for failure in failures:
        index, order_id, return_id, record = failure.index, failure.order_id, failure.return_id, failure.record
        named = usual_attributes if failure.mode == usual_mode else frame.first_attributes(failure.mode)
        if order_id is not None:
            named += f',"orderId":{json_text(order_id)}'
        if return_id is not None:
            named += f',"returnId":{json_text(return_id)}'
        level_letters, event_texts, shown = "", "", ""
        for number, fault in enumerate(failure.faults[:MOST_FAULTS]):
            what, message, level = _code_and_field(fault.code, fault.field), json_text(fault.message), fault.level
            product_id = fault.product_id
            attributes = f'{named},"index":{index},{what}'
            if product_id is not None:
                attributes += f',"productId":{json_text(product_id)}'
            if number:
                event_texts, shown = event_texts + BETWEEN_FAULTS, shown + ","
            level_letters += level[0]
            event_texts += frame.event(index, number, message, level, attributes)
            shown += f'{{{what},"message":{message},"retryable":{"true" if fault.retryable else "false"}}}'
        levels.append(level_letters)
        events.append(event_texts)
        details.append(
            f'"faults":[{shown}]' if record is None else f'"faults":[{shown}],"record":{_on_one_line(record)}'
        )
    return Told(BETWEEN_LEVELS.join(levels), BETWEEN_FAILURES.join(events), BETWEEN_DETAILS.join(details))


def expired_event(frame: Frame, index: int) -> str:
    """The system's own fault: the record's answer did not come in time."""
    attributes = f'{frame.usual_attributes},"index":{index},"code":"{EXPIRED}"'
    return frame.event(index, 0, json_text(EXPIRED_MESSAGE), ERROR, attributes)


@lru_cache(maxsize=4096)
def _code_and_field(code: str, field: str) -> str:
    """Both as members of an object: there are few such pairs."""
    return f'"code":{json_text(code)},"field":{json_text(field)}'


def _on_one_line(text: str) -> str:
    """The text if it is JSON, without line breaks; otherwise the text as a JSON string."""
    try:
        _check(text)
        return msgspec.json.format(text, indent=-1) if "\n" in text or "\r" in text else text
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return json_text(text)
