"""Keeps to a limit per second, so that the server need not refuse anything."""

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from time import monotonic

WINDOW_S = 1.0
_RATE_LIMIT = re.compile(r"r=([0-9]+);\s*t=([0-9]+)")
_COUNTED = re.compile(r"counted;\s*dur=([0-9.]+)")


@dataclass(slots=True)
class Sent:
    """A request that counts against the limit. `own` is what this client may have had in its window, at most."""

    cost: int
    sent_at: float
    own: int
    # None while it is in flight: the server may count it only when it answers.
    freed_at: float | None = None


class Pace:
    """Tells when the next request may be sent.

    The server counts a request in any second, at some time between its sending and its response, and says in the
    response how long ago that was: a request leaves the window at the latest one second after that. The next one must
    not be sent sooner, though it is counted some milliseconds after its sending: a server refuses it as it arrives if
    nothing is left by then. Others who use the same limit show in the `RateLimit` field.

    A request that costs more than the budget, as after its share became smaller, stays in the window for as many
    seconds as it uses up.
    """

    def __init__(self, limit: int, *, share: float = 1.0, clock: Callable[[], float] = monotonic) -> None:
        self.limit = limit
        self.set_share(share)
        self._clock = clock
        self._sent: deque[Sent] = deque()
        self._total = 0
        self._blocked_until = 0.0
        self._lock = Lock()

    def set_share(self, share: float) -> None:
        """Use another part of the limit from now on; may be called from any thread."""
        self.budget = max(int(self.limit * share), 1)

    def wait_s(self, cost: int) -> float:
        """Return how long to wait before a request of this cost; infinite until a response comes in."""
        with self._lock:
            now = self._clock()
            if now < self._blocked_until:
                return self._blocked_until - now
            while self._sent and (freed_at := self._sent[0].freed_at) is not None and freed_at <= now:
                self._sent.popleft()
            return self._wait_s(cost, now)

    def start(self, cost: int) -> Sent:
        """Count a request that is sent now."""
        now = self._clock()
        with self._lock:
            self._total += cost
            in_window = sum(one.cost for one in self._sent if one.freed_at is None or one.freed_at > now)
            # What is sent from now on is added when the response comes.
            sent = Sent(cost, now, own=in_window + cost - self._total)
            self._sent.append(sent)
        return sent

    def finish(self, sent: Sent, headers: Mapping[str, str] | None = None) -> None:
        """Note that the response of a request has come, with what the server says of its limit."""
        now, headers = self._clock(), headers or {}
        with self._lock:
            counted_at = now
            if timing := _COUNTED.search(headers.get("server-timing", "")):
                counted_at = max(now - float(timing[1]) / 1000, sent.sent_at)
            sent.freed_at = counted_at + WINDOW_S * max(sent.cost / self.budget, 1)
            found = _RATE_LIMIT.search(headers.get("ratelimit", ""))
            if found is None:
                return
            left, reset_s = int(found[1]), int(found[2])
            others = self.limit - left - (sent.own + self._total)
            if left < sent.cost and others > self.limit - self.budget:
                # Others have used more than this client leaves to them.
                self._blocked_until = now + min(reset_s, WINDOW_S)

    def _wait_s(self, cost: int, now: float) -> float:
        excess = sum(one.cost for one in self._sent if one.freed_at is None or one.freed_at > now)
        excess += min(cost, self.budget) - self.budget
        if excess <= 0 or not self._sent:
            return 0.0
        for freed_at, one_cost in sorted((one.freed_at, one.cost) for one in self._sent if one.freed_at is not None):
            if freed_at > now:
                excess -= one_cost
                if excess <= 0:
                    return freed_at - now
        return float("inf")
