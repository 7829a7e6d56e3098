"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot hold. Those of events are so joined that many
of them together can be the elements of a JSON array as they stand: to JSON a line break is a space.
"""

from collections.abc import Iterator, Sequence

import msgspec

from services.status.domain.facts import Failure, Fault
from services.status.domain.frame import Frame, json_text, members
from services.status.domain.profile import Profile

BETWEEN_FAILURES = ",\n"
BETWEEN_FAULTS = ",\t"
BETWEEN_DETAILS = "\n"
BETWEEN_LEVELS = ","
MOST_FAULTS = 20

WARNING, ERROR, SUMMARY, DETAIL = "WARNING", "ERROR", "SUMMARY", "DETAIL"
EXPIRED = "EXPIRED"
EXPIRED_MESSAGE = "The record was not processed before its job's deadline"

_encode = msgspec.json.Encoder().encode


def levels_text(failures: Sequence[Failure]) -> str:
    """A letter per event: W or E."""
    return BETWEEN_LEVELS.join(["".join([fault.level[0] for fault in f.faults[:MOST_FAULTS]]) for f in failures])


def events_text(failures: Sequence[Failure], at_us: int, profile: Profile) -> str:
    """The events of these failures, as JSON texts."""
    frame = Frame(profile, at_us)
    return BETWEEN_FAILURES.join([BETWEEN_FAULTS.join(_fault_events(failure, frame)) for failure in failures])


def details_text(failures: Sequence[Failure]) -> str:
    """What `/records` shows of these failures: members of a JSON object, without its braces."""
    return BETWEEN_DETAILS.join([_details(failure) for failure in failures])


def expired_event(frame: Frame, index: int) -> str:
    """The system's own fault: the record's answer did not come in time."""
    attributes = frame.first_attributes(frame.mode) + members({"index": index, "code": EXPIRED})
    return frame.event(index, 0, EXPIRED_MESSAGE, ERROR, attributes)


def _fault_events(failure: Failure, frame: Frame) -> Iterator[str]:
    named = frame.first_attributes(failure.mode) + members(
        {"orderId": failure.order_id, "returnId": failure.return_id, "index": failure.index}
    )
    for number, fault in enumerate(failure.faults[:MOST_FAULTS]):
        more = members({"code": fault.code, "field": fault.field, "productId": fault.product_id})
        yield frame.event(failure.index, number, fault.message, fault.level, named + more)


def _details(failure: Failure) -> str:
    faults = _encode([_shown(fault) for fault in failure.faults[:MOST_FAULTS]]).decode()
    record = "" if failure.record is None else f',"record":{_on_one_line(failure.record)}'
    return f'"faults":{faults}{record}'


def _shown(fault: Fault) -> dict[str, str | bool]:
    return {"code": fault.code, "field": fault.field, "message": fault.message, "retryable": fault.retryable}


def _on_one_line(text: str) -> str:
    """The text if it is JSON, without line breaks; otherwise the text as a JSON string."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        return msgspec.json.format(text, indent=-1)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return json_text(text)
