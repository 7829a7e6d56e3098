"""Dead-letter limit: halts a partition whose records would nearly all be dead-lettered.

Then the fault is not in the records, and draining the partition would only move them.
"""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from services.chassis.runtime.settings import DeadLetterLimitSettings


@dataclass(slots=True)
class _History:
    """A partition's record count, the dead letters at its end, and the positions of the dead letters in the window."""

    records: int = 0
    consecutive: int = 0
    dead: deque[int] = field(default_factory=deque)


class DeadLetterLimit:
    """Counts dead letters by partition.

    A partition is halted before the record that would become more than `max_consecutive` dead letters in a row, or
    more than `max_ratio` of the last `window` records. It stays halted until `resume`.
    """

    def __init__(self, *, max_consecutive: int, window: int, max_ratio: float) -> None:
        self._max_consecutive = max_consecutive
        self._window = window
        self._max_in_window = int(window * max_ratio)
        self._histories: dict[Hashable, _History] = {}
        self._halted: set[Hashable] = set()

    @classmethod
    def from_settings(cls, settings: DeadLetterLimitSettings) -> "DeadLetterLimit":
        """Return the configured limit."""
        return cls(
            max_consecutive=settings.dead_letter_max_consecutive,
            window=settings.dead_letter_window,
            max_ratio=settings.dead_letter_max_ratio,
        )

    @property
    def halted(self) -> Collection[Hashable]:
        """The partitions that must not be consumed."""
        return self._halted

    def allowed(self, partition: Hashable, total: int, dead: Sequence[int]) -> int:
        """Return how many of the next `total` records may be processed.

        `dead` lists the positions of those that would be dead-lettered. Nothing is recorded: the same records may be
        asked about again before `record`.
        """
        if partition in self._halted:
            return 0
        if not dead:
            return total
        history = self._histories.get(partition) or _History()
        recent = deque(history.dead)
        consecutive, expected = history.consecutive, 0
        for position in dead:
            consecutive = consecutive + 1 if position == expected else 1
            expected = position + 1
            recent.append(history.records + position)
            self._drop_older(recent, history.records + position)
            if consecutive > self._max_consecutive or len(recent) > self._max_in_window:
                return position
        return total

    def record(self, partition: Hashable, total: int, dead: Sequence[int]) -> None:
        """Record the outcome of the next `total` records; halt the partition if not all of them were allowed."""
        allowed = self.allowed(partition, total, dead)
        history = self._histories.get(partition)
        if history is None:
            if not dead:
                return
            history = self._histories[partition] = _History()
        for position in dead:
            if position < allowed:
                history.dead.append(history.records + position)
        history.consecutive = _consecutive_at_end(history.consecutive, allowed, dead)
        history.records += allowed
        self._drop_older(history.dead, history.records)
        if allowed < total:
            self._halted.add(partition)

    def resume(self, partitions: Iterable[Hashable]) -> None:
        """Let these partitions be consumed again, as after a rebalance.

        The counts remain: if nothing has changed, the next dead letter halts the partition again.
        """
        self._halted.difference_update(partitions)

    def _drop_older(self, recent: deque[int], end: int) -> None:
        while recent and recent[0] <= end - self._window:
            recent.popleft()


def _consecutive_at_end(before: int, total: int, dead: Sequence[int]) -> int:
    """Return how many dead letters the first `total` records end with; `before` preceded them."""
    positions = set(dead)
    count = 0
    while count < total and total - 1 - count in positions:
        count += 1
    return before + count if count == total else count
