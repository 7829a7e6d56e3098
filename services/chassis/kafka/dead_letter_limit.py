"""Stops a partition that would be drained into dead letters: what is wrong then is not the records."""

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Track:
    """What was seen of a partition: how many records, how many dead ones in a row at the end, where the dead were."""

    seen: int = 0
    in_row: int = 0
    dead: deque[int] = field(default_factory=deque)


class DeadLetterLimit:
    """Counts dead letters by partition.

    A partition is stopped in front of the record that would make more than `most_in_row` dead letters in a row, or
    more than the `share` of the last `window` records. It stays so until it is released.
    """

    def __init__(self, *, max_consecutive: int, window: int, max_ratio: float) -> None:
        self._most_in_row = max_consecutive
        self._window = window
        self._most_in_window = int(window * max_ratio)
        self._tracks: dict[Hashable, _Track] = {}
        self._stopped: set[Hashable] = set()

    @property
    def halted(self) -> Collection[Hashable]:
        """The partitions that must not be read on."""
        return self._stopped

    def allowed(self, partition: Hashable, total: int, dead: Sequence[int]) -> int:
        """How many of the next `total` records may be handled; `dead` are the positions of those that would die.

        Asking changes nothing: the same records may come again before they are `handled`.
        """
        if partition in self._stopped:
            return 0
        if not dead:
            return total
        track = self._tracks.get(partition) or _Track()
        recent = deque(track.dead)
        in_row, behind = track.in_row, 0
        for position in dead:
            in_row = in_row + 1 if position == behind else 1
            behind = position + 1
            recent.append(track.seen + position)
            self._drop_older(recent, track.seen + position)
            if in_row > self._most_in_row or len(recent) > self._most_in_window:
                return position
        return total

    def record(self, partition: Hashable, total: int, dead: Sequence[int]) -> None:
        """Take down what became of the next `total` records; stop the partition if not all of them were admitted."""
        admitted = self.allowed(partition, total, dead)
        track = self._tracks.get(partition)
        if track is None:
            if not dead:
                return
            track = self._tracks[partition] = _Track()
        for position in dead:
            if position < admitted:
                track.dead.append(track.seen + position)
        track.in_row = _in_row(track.in_row, admitted, dead)
        track.seen += admitted
        self._drop_older(track.dead, track.seen)
        if admitted < total:
            self._stopped.add(partition)

    def resume(self, partitions: Iterable[Hashable]) -> None:
        """Let these partitions be read on, as when they go to another member or come from one.

        What was counted stays: if nothing has changed, the next dead letter stops them again.
        """
        self._stopped.difference_update(partitions)

    def _drop_older(self, recent: deque[int], at: int) -> None:
        while recent and recent[0] <= at - self._window:
            recent.popleft()


def _in_row(before: int, total: int, dead: Sequence[int]) -> int:
    """How many dead ones the first `total` records end with."""
    dying = set(dead)
    in_row = 0
    while in_row < total and total - 1 - in_row in dying:
        in_row += 1
    return before + in_row if in_row == total else in_row
