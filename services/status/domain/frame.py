"""The part of an event's JSON that a run's events share, put into text once."""

from functools import lru_cache

import msgspec

from services.status.domain.ids import EventIds
from services.status.domain.profile import JobProfile, SiteProfile
from services.values.instants import format_utc

BATCH_NUMBER = 1
_AFTER_ID = f'","batch":{BATCH_NUMBER},"type":"Application","message":'
_encode = msgspec.json.Encoder().encode


class EventTemplate:
    """Renders events of one job and one instant. `usual_attributes` are `first_attributes` of the job's own mode.

    An event is `head`, its own part of `ids` in hexadecimal, a `middle`, attributes and `end`: code that renders
    thousands joins these itself.
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
        """One event. The message is a JSON string; `attributes` are members of a JSON object, without its braces."""
        return (
            f'{self.id_head}{self.id_base ^ (index << 8 | fault):012x}{_AFTER_ID}{message},"level":"{level}",'
            f'"attributes":{{{attributes}{self.tail}'
        )

    def middle(self, message: str, level: str) -> str:
        """What stands between an event's id and its attributes."""
        return f'{_AFTER_ID}{message},"level":"{level}","attributes":{{'

    def base_attributes(self, mode: str) -> str:
        """What the attributes of every event begin with."""
        return f'"mode":"{mode}","type":"{self.job_type}"'


@lru_cache(maxsize=4096)
def _site_members(origin: SiteProfile) -> str:
    return f',"source":{to_json_string(origin.source)},"datacenter":{to_json_string(origin.datacenter)}'


def to_json_string(text: str) -> str:
    """The text as a JSON string."""
    return _encode(text).decode()
