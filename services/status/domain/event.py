"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot hold. Those of events are so joined that many
of them together can be the elements of a JSON array as they stand: to JSON a line break is a space.
"""

from collections.abc import Sequence

import msgspec

from services.status.domain.facts import Failure, Fault
from services.status.domain.frame import Frame, json_text, member, usual_text
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
    attributes = f'{frame.first_attributes(frame.mode)},"index":{index},"code":"{EXPIRED}"'
    return frame.event(index, 0, EXPIRED_MESSAGE, ERROR, attributes)


def _fault_events(failure: Failure, frame: Frame) -> list[str]:
    ids = member("orderId", failure.order_id) + member("returnId", failure.return_id)
    named = f'{frame.first_attributes(failure.mode)}{ids},"index":{failure.index}'
    return [
        frame.event(
            failure.index,
            number,
            fault.message,
            fault.level,
            f'{named},"code":{usual_text(fault.code)},"field":{usual_text(fault.field)}'
            f"{member('productId', fault.product_id)}",
        )
        for number, fault in enumerate(failure.faults[:MOST_FAULTS])
    ]


def _details(failure: Failure) -> str:
    faults = ",".join([_shown(fault) for fault in failure.faults[:MOST_FAULTS]])
    record = "" if failure.record is None else f',"record":{_on_one_line(failure.record)}'
    return f'"faults":[{faults}]{record}'


def _shown(fault: Fault) -> str:
    return (
        f'{{"code":{usual_text(fault.code)},"field":{usual_text(fault.field)}'
        f',"message":{json_text(fault.message)},"retryable":{"true" if fault.retryable else "false"}}}'
    )


def _on_one_line(text: str) -> str:
    """The text if it is JSON, without line breaks; otherwise the text as a JSON string."""
    try:
        _check(text)
        return msgspec.json.format(text, indent=-1) if "\n" in text or "\r" in text else text
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return json_text(text)
