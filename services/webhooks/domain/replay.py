"""Replays: events of the past that are sent to an endpoint again."""

from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


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


class ReplayReader:
    """A replay in progress: a second reader of the feed."""

    def __init__(self, replay: Replay) -> None:
        self.replay = replay
        self.read_to = replay.position
        self.open: set[int] = set()

    def has_read_all(self) -> bool:
        """Whether all its events have been loaded."""
        return self.read_to >= self.replay.end

    def advanced(self, sent: int, failed: int) -> Replay:
        """The replay with what was sent since; its position is before the first event that is not recorded."""
        position = min(self.open) - 1 if self.open else self.read_to
        is_over = self.has_read_all() and not self.open
        return replace(
            self.replay,
            position=position,
            sent=self.replay.sent + sent,
            failed=self.replay.failed + failed,
            state=ReplayState.FINISHED if is_over else ReplayState.RUNNING,
        )
