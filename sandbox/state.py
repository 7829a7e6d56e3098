"""How a part of the sandbox is."""

from enum import StrEnum


class State(StrEnum):
    """How a part is."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DEAD = "dead"
