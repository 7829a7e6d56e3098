"""Replays: events of the past that are sent to an endpoint again."""

from collections.abc import Collection
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from services.webhooks.domain.delivery import Outcome


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
        self._open: set[int] = set()
        self._sent, self._failed, self._skipped = replay.sent, replay.failed, replay.skipped

    def has_read_all(self) -> bool:
        """Whether all its events have been loaded."""
        return self.read_to >= self.replay.end

    def add(self, sequences: Collection[int], *, read_to: int, skipped: int) -> None:
        """These events are to be sent; together with those that are skipped, they reach up to `read_to`."""
        self._open.update(sequences)
        self.read_to = read_to
        self._skipped += skipped

    def close(self, sequence: int, outcome: Outcome | None) -> None:
        """The event is recorded; without an outcome, it was sent as part of something else."""
        self._open.discard(sequence)
        if outcome is not None:
            self._sent += 1
            self._failed += not outcome.is_success

    def progress(self) -> Replay:
        """The replay as it is now; its position is before the first event that is not recorded."""
        is_over = self.has_read_all() and not self._open
        return replace(
            self.replay,
            position=min(self._open) - 1 if self._open else self.read_to,
            sent=self._sent,
            failed=self._failed,
            skipped=self._skipped,
            state=ReplayState.FINISHED if is_over else ReplayState.RUNNING,
        )
