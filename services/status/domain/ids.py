"""Ids of tasks and events: formatted from the job's id, so that a repeated event is the same event.

A job id keeps its time and its clock sequence; what tells tasks and events apart is mixed into its last twelve digits
in a way that can be undone, so no two events of a job can meet.
"""

_NODE_AT = 24
_TASK = 0x1000_0000_0000
_EVENT = 0x2000_0000_0000


class EventIds:
    """The ids of one job's tasks and events.

    All begin with `head`; twelve hexadecimal digits follow. For the event at a position they are `events`, changed by
    `index << 8 | fault`.
    """

    __slots__ = ("_node", "event_base", "head")

    def __init__(self, job_id: str) -> None:
        self.head = job_id[:_NODE_AT]
        self._node = int(job_id[_NODE_AT:], 16)
        self.event_base = self._node ^ _EVENT

    def task_id(self, batch: int) -> str:
        """The id of a batch's task."""
        return f"{self.head}{self._node ^ (_TASK | batch):012x}"
