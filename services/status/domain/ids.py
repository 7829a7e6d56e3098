"""Ids of tasks and events: formatted from the job's id, so that a repeated event is the same event.

A job id keeps its time and its clock sequence; what tells tasks and events apart is mixed into its last twelve digits
in a way that can be undone, so no two events of a job can meet.
"""

_NODE_AT = 24
_TASK = 0x1000_0000_0000
_EVENT = 0x2000_0000_0000


class JobIds:
    """The ids of one job's tasks and events."""

    __slots__ = ("_head", "_node")

    def __init__(self, job_id: str) -> None:
        self._head = job_id[:_NODE_AT]
        self._node = int(job_id[_NODE_AT:], 16)

    def task(self, batch: int) -> str:
        """The id of a batch's task."""
        return f"{self._head}{self._node ^ (_TASK | batch):012x}"

    def event(self, index: int, fault: int) -> str:
        """The id of the event at this position."""
        return f"{self._head}{self._node ^ (_EVENT | index << 8 | fault):012x}"
