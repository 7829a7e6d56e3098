"""Ids of tasks and events: formatted from the job's id, so that a repeated event is the same event.

A job id keeps its time and its clock sequence; what tells tasks and events apart is mixed into its last twelve digits
in a way that can be undone, so no two events of a job can meet.
"""

_TASK = 0x1000_0000_0000
_EVENT = 0x2000_0000_0000


def task_id(job_id: str, batch: int) -> str:
    """The id of a batch's task."""
    return _mixed(job_id, _TASK | batch)


def status_id(job_id: str, index: int, fault: int) -> str:
    """The id of the event at this position."""
    return _mixed(job_id, _EVENT | index << 8 | fault)


def _mixed(job_id: str, what: int) -> str:
    return f"{job_id[:24]}{int(job_id[24:], 16) ^ what:012x}"
