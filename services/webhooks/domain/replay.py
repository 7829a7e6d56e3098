"""Replays: events of the past that are sent to an endpoint again."""

from enum import StrEnum

from msgspec import Struct


class ReplayState(StrEnum):
    """A replay runs until it has reached its end or is stopped."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"


class Replay(Struct, frozen=True, kw_only=True):
    """Events after `position` up to `end`; only those that were not delivered, if `only_failed`.

    `sent` counts the events that were sent, `failed` those of them of which the first try failed, which are then tried
    again like any other, and `skipped` those that were delivered before.
    """

    id: str
    endpoint: str
    site: int
    start: int
    position: int
    end: int
    only_failed: bool
    created_us: int
    state: ReplayState = ReplayState.RUNNING
    sent: int = 0
    failed: int = 0
    skipped: int = 0
