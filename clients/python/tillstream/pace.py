"""Keeps to a limit per second, so that the server need not refuse anything."""

import re
from collections import deque
from collections.abc import Callable, Mapping
from threading import Lock
from time import monotonic

WINDOW_S = 1.0
_RATE_LIMIT = re.compile(r"r=([0-9]+);\s*t=([0-9]+)")


class Sent:
    """A request that counts against the limit, until one second after its response."""

    __slots__ = ("cost", "freed_at")

    def __init__(self, cost: int) -> None:
        self.cost = cost
        # In flight: the server may count it only when it answers.
        self.freed_at: float | None = None


class Pace:
    """Tells when the next request may be sent.

    The server counts a request in any second at some time between its sending and its response, so it is safe to
    count it until one second after the response. Others who use the same limit show in the `RateLimit` field.
    """

    def __init__(self, limit: int, *, share: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self.budget = max(int(limit * share), 1)
        self._clock = clock
        self._sent: deque[Sent] = deque()
        self._blocked_until = 0.0
        self._lock = Lock()

    def wait_s(self, cost: int) -> float:
        """Return how long to wait before a request of this cost; infinite until a response comes in."""
        with self._lock:
            return self._wait_s(cost)

    def _wait_s(self, cost: int) -> float:
        now = self._clock()
        while self._sent and (freed_at := self._sent[0].freed_at) is not None and freed_at <= now:
            self._sent.popleft()
        if now < self._blocked_until:
            return self._blocked_until - now
        excess = sum(one.cost for one in self._sent if one.freed_at is None or one.freed_at > now)
        excess += cost - self.budget
        if excess <= 0 or not self._sent:
            return 0.0
        for freed_at, one_cost in sorted((one.freed_at, one.cost) for one in self._sent if one.freed_at is not None):
            if freed_at > now:
                excess -= one_cost
                if excess <= 0:
                    return freed_at - now
        return float("inf")

    def start(self, cost: int) -> Sent:
        """Count a request that is sent now."""
        sent = Sent(cost)
        with self._lock:
            self._sent.append(sent)
        return sent

    def finish(self, sent: Sent, headers: Mapping[str, str] | None = None) -> None:
        """Note that the response of a request has come, with what the server says is left."""
        now = self._clock()
        sent.freed_at = now + WINDOW_S
        found = _RATE_LIMIT.search((headers or {}).get("ratelimit", ""))
        if found is None:
            return
        left, reset_s = int(found[1]), int(found[2])
        with self._lock:
            own = sum(one.cost for one in self._sent if one.freed_at is None or one.freed_at > now)
        if left < sent.cost and self.limit - left > own:
            # Others have used the limit up.
            self._blocked_until = now + min(reset_s, WINDOW_S)
