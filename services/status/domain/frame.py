"""The part of an event's JSON that a run's events share, put into text once."""

from functools import lru_cache

import msgspec

from services.status.domain.ids import JobIds
from services.status.domain.profile import Origin, Profile
from services.values.instants import format_utc

BATCH = 1
_AFTER_ID = f'","batch":{BATCH},"type":"Application","message":'
_encode = msgspec.json.Encoder().encode


class Frame:
    """Renders events of one job and one instant. `usual_attributes` are `first_attributes` of the job's own mode.

    An event is `head`, its own part of `ids` in hexadecimal, a `middle`, attributes and `end`: code that renders
    thousands joins these itself.
    """

    __slots__ = ("end", "head", "ids", "type", "usual_attributes", "usual_mode")

    def __init__(self, profile: Profile, at_us: int) -> None:
        header = profile.header
        ids = JobIds(header.key.job_id)
        self.ids = ids.events
        self.head = f'{{"taskId":"{ids.task(BATCH)}","statusId":"{ids.head}'
        self.end = f'}}{_origin_members(profile.origin)},"timestamp":"{format_utc(at_us, digits=9)}"}}'
        self.type = header.type
        self.usual_mode = header.mode
        self.usual_attributes = self.first_attributes(header.mode)

    def event(self, index: int, fault: int, message: str, level: str, attributes: str) -> str:
        """One event. The message is a JSON string; `attributes` are members of a JSON object, without its braces."""
        return (
            f'{self.head}{self.ids ^ (index << 8 | fault):012x}{_AFTER_ID}{message},"level":"{level}",'
            f'"attributes":{{{attributes}{self.end}'
        )

    def middle(self, message: str, level: str) -> str:
        """What stands between an event's id and its attributes."""
        return f'{_AFTER_ID}{message},"level":"{level}","attributes":{{'

    def first_attributes(self, mode: str) -> str:
        """What the attributes of every event begin with."""
        return f'"mode":"{mode}","type":"{self.type}"'


@lru_cache(maxsize=4096)
def _origin_members(origin: Origin) -> str:
    return f',"source":{json_text(origin.source)},"datacenter":{json_text(origin.datacenter)}'


def json_text(text: str) -> str:
    """The text as a JSON string."""
    return _encode(text).decode()
