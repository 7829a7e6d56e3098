"""So much in any second: a moving window with weighted cost, in this process.

Reads a monotonic clock, so that a stepped wall clock neither opens nor shuts the gate.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether it may pass, what is left of the window, and when enough of it frees up again."""

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: int
    reset_s: int


class _Window:
    """What one key spent lately, oldest first."""

    __slots__ = ("spent", "used")

    def __init__(self) -> None:
        self.spent: deque[tuple[float, int]] = deque()
        self.used = 0

    def evict_before(self, instant: float) -> None:
        spent = self.spent
        while spent and spent[0][0] <= instant:
            self.used -= spent.popleft()[1]


class RateLimit:
    """At most `limit` units in any `window_s` seconds, per key."""

    def __init__(
        self, *, window_s: float = 1.0, clock: Callable[[], float] = monotonic, max_keys: int = 100_000
    ) -> None:
        self._window_s = window_s
        self._clock = clock
        self._most_keys = max_keys
        self._windows: dict[str, _Window] = {}

    def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` units if the window can pay them; a cost of 0 asks whether anything is left."""
        now = self._clock()
        window = self._window(key, now)
        window.evict_before(now - self._window_s)
        allowed = window.used + max(cost, 1) <= limit
        if allowed and cost:
            window.spent.append((now, cost))
            window.used += cost
        wait_s = 0.0 if allowed else self._time_until_available(window, limit - max(cost, 1), now)
        reset_s = window.spent[-1][0] + self._window_s - now if window.spent else 0.0
        return Decision(
            allowed=allowed,
            limit=limit,
            remaining=max(limit - window.used, 0),
            retry_after_s=0 if allowed else max(math.ceil(wait_s), 1),
            reset_s=math.ceil(reset_s),
        )

    def _window(self, key: str, now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._most_keys:
                self._drop_idle(now)
            window = self._windows[key] = _Window()
        return window

    def _drop_idle(self, now: float) -> None:
        for window in self._windows.values():
            window.evict_before(now - self._window_s)
        self._windows = {key: window for key, window in self._windows.items() if window.spent}
        # All of them busy: the oldest half starts anew rather than memory growing without end.
        if len(self._windows) >= self._most_keys:
            for key in list(self._windows)[: len(self._windows) // 2 + 1]:
                del self._windows[key]

    def _time_until_available(self, window: _Window, most_used: int, now: float) -> float:
        used = window.used
        for at, cost in window.spent:
            used -= cost
            if used <= most_used:
                return at + self._window_s - now
        return self._window_s
