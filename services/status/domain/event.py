"""Events as readers see them: those of faults are rendered when the fault is stored, the others on reading.

Texts of several failures are joined by characters that JSON text cannot contain. The separators between events make
many of them the elements of a JSON array as they are: to JSON, a line break is a space.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
from msgspec import Struct

from services.jobs.events import ERROR, Failure, Fault
from services.status.domain.profile import JobProfile, SiteProfile
from services.values.instants import format_utc

FAILURE_SEPARATOR = ",\n"
FAULT_SEPARATOR = ",\t"
DETAILS_SEPARATOR = "\n"
LEVELS_SEPARATOR = ","
MAX_FAULTS_PER_FAILURE = 20
# Faults with longer texts are rendered whenever they occur: the cache of the others must not take much memory.
MAX_CACHED_CHARS = 512

SUMMARY, DETAIL = "SUMMARY", "DETAIL"
EXPIRED = "EXPIRED"
EXPIRED_MESSAGE = "The record was not processed before its job's deadline"
BATCH_NUMBER = 1

_NODE_AT = 24
_TASK = 0x1000_0000_0000
_EVENT = 0x2000_0000_0000
_AFTER_ID = f'","batch":{BATCH_NUMBER},"type":"Application","message":'

_encode = msgspec.json.Encoder().encode
_parse_raw = msgspec.json.Decoder(msgspec.Raw).decode


def event_middle(message: str, level: str) -> str:
    """The text between an event's id and its attributes. `message` is a JSON string."""
    return f'{_AFTER_ID}{message},"level":"{level}","attributes":{{'


class EventIds:
    """The ids of a job's tasks and events, derived from the job's id, so that a repeated event has the same id.

    They keep the job id's time and clock sequence; the task's or event's number is XORed into its last twelve digits,
    so no two events of a job have the same id. All begin with `head`; twelve hexadecimal digits follow. Those of an
    event are `event_base ^ (index << 8 | fault)`.
    """

    __slots__ = ("_node", "event_base", "head")

    def __init__(self, job_id: str) -> None:
        self.head = job_id[:_NODE_AT]
        self._node = int(job_id[_NODE_AT:], 16)
        self.event_base = self._node ^ _EVENT

    def task_id(self, batch: int) -> str:
        """The id of a batch's task."""
        return f"{self.head}{self._node ^ (_TASK | batch):012x}"


class EventTemplate:
    """Renders events of one job and one instant; what they share is rendered once.

    An event is `id_head`, its own part of `id_base` in hexadecimal, an `event_middle`, attributes and `tail`: code that
    renders thousands joins these itself. `default_attributes` are the `base_attributes` of the job's own mode.
    """

    __slots__ = ("default_attributes", "default_mode", "id_base", "id_head", "job_type", "tail")

    def __init__(self, profile: JobProfile, at_us: int) -> None:
        header = profile.header
        ids = EventIds(header.key.job_id)
        self.id_base = ids.event_base
        self.id_head = f'{{"taskId":"{ids.task_id(BATCH_NUMBER)}","statusId":"{ids.head}'
        self.tail = f'}}{_site_members(profile.site)},"timestamp":"{format_utc(at_us, digits=9)}"}}'
        self.job_type = header.type
        self.default_mode = header.mode
        self.default_attributes = self.base_attributes(header.mode)

    def render(self, index: int, fault: int, message: str, level: str, attributes: str) -> str:
        """Render an event. `message` is a JSON string; `attributes` are members of a JSON object, without braces."""
        return (
            f"{self.id_head}{self.id_base ^ (index << 8 | fault):012x}{event_middle(message, level)}"
            f"{attributes}{self.tail}"
        )

    def base_attributes(self, mode: str) -> str:
        """The first attributes of every event."""
        return f'"mode":"{mode}","type":"{self.job_type}"'


class RenderedFailures(NamedTuple):
    """Failures as readers see them: three texts, each with one part for every failure.

    `levels` has a character per event, W or E. `events` has the events as JSON. `details` has what `/records` shows:
    members of a JSON object, without braces.
    """

    levels: str
    events: str
    details: str


class _RenderedFault(NamedTuple):
    """What all failures with the same fault have in common.

    `middle` goes between an event's id and the failure's own attributes, `attributes` after these; `details` is a JSON
    object.
    """

    level: str
    middle: str
    attributes: str
    details: str


class _RenderedFaults(Struct, frozen=True, gc=False):
    """What failures of one job with the same faults have in common.

    `events` has, for each fault, its number, the text between the event's id and the failure's own attributes, and the
    text after these; `details` begins the failure's details.
    """

    levels: str
    events: Sequence[tuple[int, str, str]]
    details: str


def render_failures(failures: Sequence[Failure], at_us: int, profile: JobProfile) -> RenderedFailures:
    """Render everything that readers are shown of failures that happened at this time."""
    template = EventTemplate(profile, at_us)
    default_mode, default_attributes = template.default_mode, template.default_attributes
    id_head, id_base = template.id_head, template.id_base
    levels: list[str] = []
    events: list[str] = []
    details: list[str] = []
    faults: Sequence[Fault] | None = None
    # Where many records fail, status spends most of its time here: one pass, few calls, each text encoded once.
    for failure in failures:
        index, order_id, return_id, record = failure.index, failure.order_id, failure.return_id, failure.record
        named = default_attributes if failure.mode == default_mode else template.base_attributes(failure.mode)
        if order_id is not None:
            named += f',"orderId":{_encode(order_id).decode()}'
        if return_id is not None:
            named += f',"returnId":{_encode(return_id).decode()}'
        if failure.faults != faults:
            # Most failures of a run have the faults of the one before.
            faults = failure.faults
            rendered = _render_faults(faults, template)
        texts = ""
        for number, middle, end in rendered.events:
            if number:
                texts += FAULT_SEPARATOR
            texts += f'{id_head}{id_base ^ (index << 8 | number):012x}{middle}{named},"index":{index},{end}'
        levels.append(rendered.levels)
        events.append(texts)
        details.append(rendered.details if record is None else f'{rendered.details},"record":{_compact_json(record)}')
    return RenderedFailures(
        LEVELS_SEPARATOR.join(levels), FAILURE_SEPARATOR.join(events), DETAILS_SEPARATOR.join(details)
    )


def _render_faults(faults: Sequence[Fault], template: EventTemplate) -> _RenderedFaults:
    tail, levels, events, details = template.tail, "", [], []
    for number, fault in enumerate(faults[:MAX_FAULTS_PER_FAILURE]):
        size = len(fault.code) + len(fault.field) + len(fault.message) + len(fault.product_id or "")
        render = _render_cached_fault if size <= MAX_CACHED_CHARS else _render_fault
        level, middle, attributes, shown = render(fault)
        levels += level
        events.append((number, middle, attributes + tail))
        details.append(shown)
    return _RenderedFaults(levels, events, f'"faults":[{",".join(details)}]')


def _render_fault(fault: Fault) -> _RenderedFault:
    message = to_json_string(fault.message)
    members = f'"code":{to_json_string(fault.code)},"field":{to_json_string(fault.field)}'
    product = "" if fault.product_id is None else f',"productId":{to_json_string(fault.product_id)}'
    return _RenderedFault(
        fault.level[0],
        event_middle(message, fault.level),
        f"{members}{product}",
        f'{{{members},"message":{message},"retryable":{"true" if fault.retryable else "false"}}}',
    )


# Jobs that are sent one after another often have the same faults.
_render_cached_fault = lru_cache(maxsize=1024)(_render_fault)


def render_expired_event(template: EventTemplate, index: int) -> str:
    """Render the fault of a record whose verdict did not come in time."""
    attributes = f'{template.default_attributes},"index":{index},"code":"{EXPIRED}"'
    return template.render(index, 0, to_json_string(EXPIRED_MESSAGE), ERROR, attributes)


@lru_cache(maxsize=4096)
def _site_members(site: SiteProfile) -> str:
    return f',"source":{to_json_string(site.source)},"datacenter":{to_json_string(site.datacenter)}'


def _compact_json(text: str) -> str:
    """The text without line breaks if it is JSON, otherwise the text as a JSON string."""
    try:
        _parse_raw(text)
        return msgspec.json.format(text, indent=-1) if "\n" in text or "\r" in text else text
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return to_json_string(text)


def to_json_string(text: str) -> str:
    """The text as a JSON string."""
    return _encode(text).decode()
