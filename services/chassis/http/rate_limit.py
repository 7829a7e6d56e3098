"""Rate limit of this process: a sliding window with weighted cost, and the responses that report it.

It reads a monotonic clock: changes of the wall clock have no effect.
"""

import math
from collections import deque
from collections.abc import Callable
from time import monotonic

from msgspec import Struct

from services.chassis.runtime.errors import Problem


class Decision(Struct, frozen=True, gc=False):
    """Whether the request is allowed, what is left in the window, and when it frees up.

    It was made at `decided_at`, in seconds of the monotonic clock.
    """

    allowed: bool
    limit: int
    remaining: int
    retry_after_s: int
    reset_s: int
    decided_at: float


def quota_headers(policy: str, decision: Decision) -> dict[str, str]:
    """Return the IETF's RateLimit header fields (draft 10)."""
    return {
        "RateLimit-Policy": f'"{policy}";q={decision.limit};w=1',
        "RateLimit": f'"{policy}";r={decision.remaining};t={decision.reset_s}',
    }


def rate_limited(decision: Decision, detail: str, *, policy: str | None = None) -> Problem:
    """Return a 429; with a `policy` it carries the quota headers."""
    headers = {"Retry-After": str(max(decision.retry_after_s, 1))}
    if policy is not None:
        headers |= quota_headers(policy, decision)
    return Problem(429, "RATE_LIMITED", detail, headers=headers)


class _Window:
    """The recent costs of one key, oldest first."""

    __slots__ = ("costs", "used")

    def __init__(self) -> None:
        self.costs: deque[tuple[float, int]] = deque()
        self.used = 0

    def evict_before(self, instant: float) -> None:
        costs = self.costs
        while costs and costs[0][0] <= instant:
            self.used -= costs.popleft()[1]


class RateLimit:
    """At most `limit` units in any `window_s` seconds, per key."""

    def __init__(
        self, *, window_s: float = 1.0, clock: Callable[[], float] = monotonic, max_keys: int = 100_000
    ) -> None:
        self._window_s = window_s
        self._clock = clock
        self._max_keys = max_keys
        self._windows: dict[str, _Window] = {}

    def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` units if the window has them."""
        now = self._clock()
        window = self._window(key, now)
        allowed = window.used + cost <= limit
        if allowed:
            window.costs.append((now, cost))
            window.used += cost
        return self._decision(window, now, allowed=allowed, limit=limit, cost=cost)

    def give_back(self, key: str) -> None:
        """Undo the latest `acquire` of one unit, if it is still in the window."""
        window = self._window(key, self._clock())
        if window.costs and window.costs[-1][1] == 1:
            window.costs.pop()
            window.used -= 1

    def peek(self, key: str, *, limit: int) -> Decision:
        """Decide as `acquire` would for one unit; spend nothing."""
        now = self._clock()
        window = self._window(key, now)
        return self._decision(window, now, allowed=window.used < limit, limit=limit, cost=1)

    def has_quota(self, key: str, *, limit: int) -> bool:
        """Whether the window has a unit left."""
        return self._window(key, self._clock()).used < limit

    def _decision(self, window: _Window, now: float, *, allowed: bool, limit: int, cost: int) -> Decision:
        wait_s = 0.0 if allowed else self._time_until_available(window, limit - cost, now)
        reset_s = window.costs[-1][0] + self._window_s - now if window.costs else 0.0
        return Decision(
            allowed=allowed,
            limit=limit,
            remaining=max(limit - window.used, 0),
            retry_after_s=0 if allowed else max(math.ceil(wait_s), 1),
            reset_s=math.ceil(reset_s),
            decided_at=now,
        )

    def _window(self, key: str, now: float) -> _Window:
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= self._max_keys:
                self._drop_idle(now)
            window = self._windows[key] = _Window()
        window.evict_before(now - self._window_s)
        return window

    def _drop_idle(self, now: float) -> None:
        for window in self._windows.values():
            window.evict_before(now - self._window_s)
        self._windows = {key: window for key, window in self._windows.items() if window.costs}
        # If none is idle, the older half is dropped: memory must stay bounded.
        if len(self._windows) >= self._max_keys:
            for key in list(self._windows)[: len(self._windows) // 2 + 1]:
                del self._windows[key]

    def _time_until_available(self, window: _Window, max_used: int, now: float) -> float:
        used = window.used
        for at, cost in window.costs:
            used -= cost
            if used <= max_used:
                return at + self._window_s - now
        return self._window_s
