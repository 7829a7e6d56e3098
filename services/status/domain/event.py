"""Events as readers see them: one per fault, rendered when the fault is stored, and those made from rows on reading.

Texts of several failures are joined by characters that JSON text cannot hold.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from services.status.domain.facts import Failure
from services.status.domain.ids import status_id, task_id
from services.status.domain.profile import Profile
from services.values.instants import utc_text

BETWEEN_FAILURES = "\n"
BETWEEN_FAULTS = "\t"
BETWEEN_LEVELS = ","
MOST_FAULTS = 20

WARNING, ERROR, SUMMARY, DETAIL = "WARNING", "ERROR", "SUMMARY", "DETAIL"
EXPIRED = "EXPIRED"
EXPIRED_MESSAGE = "The record was not processed before its job's deadline"

BATCH = 1
_encode = msgspec.json.Encoder().encode


def levels_text(failures: Sequence[Failure]) -> str:
    """A letter per event: W or E."""
    return BETWEEN_LEVELS.join("".join(fault.level[0] for fault in f.faults[:MOST_FAULTS]) for f in failures)


def events_text(failures: Sequence[Failure], at_us: int, profile: Profile) -> str:
    """The events of these failures, as JSON texts."""
    return BETWEEN_FAILURES.join(BETWEEN_FAULTS.join(_fault_events(failure, at_us, profile)) for failure in failures)


def details_text(failures: Sequence[Failure]) -> str:
    """What `/records` shows of these failures: members of a JSON object, without its braces."""
    return BETWEEN_FAILURES.join(_details(failure) for failure in failures)


def _fault_events(failure: Failure, at_us: int, profile: Profile) -> list[str]:
    named = {"orderId": failure.order_id, "returnId": failure.return_id, "index": failure.index}
    return [
        rendered(
            profile,
            (failure.index, number),
            message=fault.message,
            level=fault.level,
            mode=failure.mode,
            more={**named, "code": fault.code, "field": fault.field, "productId": fault.product_id},
            at_us=at_us,
        )
        for number, fault in enumerate(failure.faults[:MOST_FAULTS])
    ]


def rendered(
    profile: Profile,
    position: tuple[int, int],
    *,
    message: str,
    level: str,
    mode: str,
    more: Mapping[str, Any],
    at_us: int,
) -> str:
    """One event as JSON text; attributes that are None are left out."""
    header, origin = profile.header, profile.origin
    attributes = {"mode": mode, "type": header.type}
    attributes.update({name: value for name, value in more.items() if value is not None})
    event = {
        "taskId": task_id(header.key.job_id, BATCH),
        "statusId": status_id(header.key.job_id, *position),
        "batch": BATCH,
        "type": "Application",
        "message": message,
        "level": level,
        "attributes": attributes,
        "source": origin.source,
        "datacenter": origin.datacenter,
        "timestamp": utc_text(at_us, digits=9),
    }
    return _encode(event).decode()


def expired_event(profile: Profile, index: int, at_us: int) -> str:
    """The system's own fault: the record's answer did not come in time."""
    return rendered(
        profile,
        (index, 0),
        message=EXPIRED_MESSAGE,
        level=ERROR,
        mode=profile.header.mode,
        more={"index": index, "code": EXPIRED},
        at_us=at_us,
    )


def _details(failure: Failure) -> str:
    faults = [
        {"code": fault.code, "field": fault.field, "message": fault.message, "retryable": fault.retryable}
        for fault in failure.faults[:MOST_FAULTS]
    ]
    text = f'"faults":{_encode(faults).decode()}'
    return text if failure.record is None else f'{text},"record":{_json_text(failure.record)}'


def _json_text(text: str) -> str:
    """The text if it is JSON, on one line; otherwise the text as a JSON string."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
        return msgspec.json.format(text, indent=-1)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return _encode(text).decode()
