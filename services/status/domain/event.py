"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot hold. Those of events are so joined that many
of them together can be the elements of a JSON array as they stand: to JSON a line break is a space.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Struct

from services.jobs.events import Failure, Fault
from services.status.domain.frame import EventTemplate, to_json_string
from services.status.domain.profile import JobProfile

FAILURE_SEPARATOR = ",\n"
FAULT_SEPARATOR = ",\t"
DETAILS_SEPARATOR = "\n"
LEVELS_SEPARATOR = ","
MAX_FAULTS_PER_FAILURE = 20

WARNING, ERROR, SUMMARY, DETAIL = "WARNING", "ERROR", "SUMMARY", "DETAIL"
EXPIRED = "EXPIRED"
EXPIRED_MESSAGE = "The record was not processed before its job's deadline"

_parse_raw = msgspec.json.Decoder(msgspec.Raw).decode


class RenderedFailures(NamedTuple):
    """What readers are shown of some failures: three texts, each with one part for every failure.

    `levels` has a letter per event, W or E. `events` has the events as JSON. `details` has what `/records` shows,
    members of a JSON object without its braces.
    """

    levels: str
    events: str
    details: str


class _RenderedFaults(Struct, frozen=True, gc=False):
    """What is shown alike of failures that have the same faults.

    `events` has, for each fault, its number, what its event has between the id and the failure's own attributes, and
    what follows these; `details` begins the failure's details.
    """

    levels: str
    events: Sequence[tuple[int, str, str]]
    details: str


def render_failures(failures: Sequence[Failure], at_us: int, profile: JobProfile) -> RenderedFailures:
    """All that will be shown of failures that came to be at this time."""
    frame = EventTemplate(profile, at_us)
    usual_mode, usual_attributes, head, ids = frame.default_mode, frame.default_attributes, frame.id_head, frame.id_base
    levels: list[str] = []
    events: list[str] = []
    details: list[str] = []
    faults: Sequence[Fault] | None = None
    # Where many records fail, status does little else than this: one pass, few calls, and each text put into JSON once.
    for failure in failures:
        index, order_id, return_id, record = failure.index, failure.order_id, failure.return_id, failure.record
        named = usual_attributes if failure.mode == usual_mode else frame.base_attributes(failure.mode)
        if order_id is not None:
            named += f',"orderId":{to_json_string(order_id)}'
        if return_id is not None:
            named += f',"returnId":{to_json_string(return_id)}'
        if failure.faults != faults:
            # Most failures of a run have the faults of the one before: whoever read them made the same list of them.
            faults = failure.faults
            cause = _render_faults(faults, frame)
        texts = ""
        for number, middle, end in cause.events:
            if number:
                texts += FAULT_SEPARATOR
            texts += f'{head}{ids ^ (index << 8 | number):012x}{middle}{named},"index":{index},{end}'
        levels.append(cause.levels)
        events.append(texts)
        details.append(cause.details if record is None else f'{cause.details},"record":{_compact_json(record)}')
    return RenderedFailures(
        LEVELS_SEPARATOR.join(levels), FAILURE_SEPARATOR.join(events), DETAILS_SEPARATOR.join(details)
    )


def _render_faults(faults: Sequence[Fault], frame: EventTemplate) -> _RenderedFaults:
    levels, events, shown = "", [], []
    for number, fault in enumerate(faults[:MAX_FAULTS_PER_FAILURE]):
        what, message, product_id = (
            _code_and_field_members(fault.code, fault.field),
            to_json_string(fault.message),
            fault.product_id,
        )
        product = "" if product_id is None else f',"productId":{to_json_string(product_id)}'
        levels += fault.level[0]
        events.append((number, frame.middle(message, fault.level), f"{what}{product}{frame.tail}"))
        shown.append(f'{{{what},"message":{message},"retryable":{"true" if fault.retryable else "false"}}}')
    return _RenderedFaults(levels, events, f'"faults":[{",".join(shown)}]')


def render_expired_event(template: EventTemplate, index: int) -> str:
    """The system's own fault: the record's answer did not come in time."""
    attributes = f'{template.default_attributes},"index":{index},"code":"{EXPIRED}"'
    return template.render(index, 0, to_json_string(EXPIRED_MESSAGE), ERROR, attributes)


@lru_cache(maxsize=4096)
def _code_and_field_members(code: str, field: str) -> str:
    """Both as members of an object: there are few such pairs."""
    return f'"code":{to_json_string(code)},"field":{to_json_string(field)}'


def _compact_json(text: str) -> str:
    """The text if it is JSON, without line breaks; otherwise the text as a JSON string."""
    try:
        _parse_raw(text)
        return msgspec.json.format(text, indent=-1) if "\n" in text or "\r" in text else text
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return to_json_string(text)
