"""The states of a component."""

from enum import StrEnum


class State(StrEnum):
    """What a component is doing. `DEAD`: it exited without a request, or did not become ready in time."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DEAD = "dead"
