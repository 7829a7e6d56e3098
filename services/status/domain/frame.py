"""The part of an event's JSON that a run's events share, put into text once."""

from functools import lru_cache

import msgspec

from services.status.domain.ids import EventIds, task_id
from services.status.domain.profile import Profile
from services.values.instants import utc_text

BATCH = 1
_encode = msgspec.json.Encoder().encode


class Frame:
    """Renders events of one job and one instant."""

    __slots__ = ("_head", "_ids", "_middle", "_tail", "mode", "type")

    def __init__(self, profile: Profile, at_us: int) -> None:
        header, origin = profile.header, profile.origin
        self._ids = EventIds(header.key.job_id)
        self._head = f'{{"taskId":"{task_id(header.key.job_id, BATCH)}","statusId":"'
        self._middle = f'","batch":{BATCH},"type":"Application","message":'
        self._tail = (
            f'}},"source":{json_text(origin.source)},"datacenter":{json_text(origin.datacenter)}'
            f',"timestamp":"{utc_text(at_us, digits=9)}"}}'
        )
        self.mode = header.mode
        self.type = header.type

    def event(self, index: int, fault: int, message: str, level: str, attributes: str) -> str:
        """One event; `attributes` are members of a JSON object, without its braces."""
        return self.event_of(index, fault, json_text(message), level, attributes)

    def event_of(self, index: int, fault: int, message: str, level: str, attributes: str) -> str:
        """Likewise; the message is a JSON string already."""
        return (
            f"{self._head}{self._ids.at(index, fault)}{self._middle}{message}"
            f',"level":"{level}","attributes":{{{attributes}{self._tail}'
        )

    def first_attributes(self, mode: str) -> str:
        """What the attributes of every event begin with."""
        return f'"mode":"{mode}","type":"{self.type}"'


def member(name: str, text: str | None) -> str:
    """A further member of an object, after a comma; nothing for None."""
    return "" if text is None else f',"{name}":{json_text(text)}'


def json_text(text: str) -> str:
    """The text as a JSON string."""
    return _encode(text).decode()


# For texts of which there are few.
usual_text = lru_cache(maxsize=4096)(json_text)
