"""One rate limit for several processes: the window lies in a Valkey or Redis that all of them reach.

Without a store, or while it is away, each process counts for itself.
"""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from services.chassis.http.ratelimit import Decision, RateLimit
from services.chassis.runtime import metrics
from services.chassis.runtime.logs import logger

STORE_ERRORS = metrics.counter("ratelimit_store_errors_total", "Times the shared rate limit's store did not answer.")
STORE_UNAVAILABLE = metrics.gauge(
    "ratelimit_store_unavailable", "1 while each process limits for itself instead of all together."
)

STORE_TIMEOUT_S = 0.25
PAUSE_S = 1.0
_LOG = logger(__name__)

# The library's own scripts believe the clocks of the machines that ask: one that is wrong would shut a site out, or
# let it through twice. These do the same with the store's clock.
_NOW = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
"""
_TAKE = (
    _NOW
    + """
local limit, expiry, amount = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if amount > limit then return false end
local entry = redis.call('LINDEX', KEYS[1], limit - amount)
if entry and tonumber(entry) > now - expiry then return false end
for _ = 1, amount do redis.call('LPUSH', KEYS[1], string.format('%.6f', now)) end
redis.call('LTRIM', KEYS[1], 0, limit - 1)
redis.call('PEXPIRE', KEYS[1], expiry * 1000 + 1)
return true
"""
)
_LOOK = (
    _NOW
    + """
local low, high = 0, redis.call('LLEN', KEYS[1])
while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', KEYS[1], middle)) > now - 1 then low = middle + 1 else high = middle end
end
return {string.format('%.6f', now), math.min(low, tonumber(ARGV[2]))}
"""
)


class SharedRateLimit:
    """At most `limit` units in any second, per key, over all processes that name the same store.

    The process's own window is kept beside the shared one: what it refuses needs no store to be refused, and it goes
    on alone when the store does not answer.
    """

    def __init__(self, local: RateLimit, *, url: str | None, clock: Callable[[], float] = monotonic) -> None:
        self._own = local
        self._clock = clock
        self._away_until = -math.inf
        self._storage = None if url is None else _storage(url)
        self._shared = None if self._storage is None else MovingWindowRateLimiter(self._storage)

    async def start(self) -> None:
        """Nothing to wait for: the first question connects."""

    async def stop(self) -> None:
        """Let go of the store."""
        if self._storage is not None:
            bridge: Any = self._storage.bridge
            await bridge.get_connection().aclose()

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` units if the last second can pay them; a cost of 0 asks whether anything is left."""
        shared = self._shared
        if shared is None or self._clock() < self._away_until:
            return self._own.acquire(key, limit=limit, cost=cost)
        own = self._own.acquire(key, limit=limit, cost=0)
        if own.remaining < max(cost, 1):
            return self._own.acquire(key, limit=limit, cost=max(cost, 1))
        try:
            decision = await _take(shared, key, limit=limit, cost=cost)
        except Exception as error:  # noqa: BLE001 - the store's client raises the event loop's errors, too
            self._fall_back(error)
            return self._own.acquire(key, limit=limit, cost=cost)
        STORE_UNAVAILABLE.set(0)
        if decision.allowed and cost:
            self._own.acquire(key, limit=limit, cost=cost)
        return decision

    async def peek(self, key: str, *, limit: int) -> Decision:
        """Decide as `acquire` would for one unit; spend nothing."""
        return await self.acquire(key, limit=limit, cost=0)

    def _fall_back(self, error: Exception) -> None:
        reason = error.storage_error if isinstance(error, StorageError) else error
        STORE_ERRORS.inc()
        STORE_UNAVAILABLE.set(1)
        self._away_until = self._clock() + PAUSE_S
        _LOG.warning("the rate limit's store does not answer", error=type(reason).__name__)


async def _take(shared: MovingWindowRateLimiter, key: str, *, limit: int, cost: int) -> Decision:
    item = RateLimitItemPerSecond(limit, namespace="tillstream")
    allowed = await shared.hit(item, key, cost=cost) if cost else True
    left = max((await shared.get_window_stats(item, key)).remaining, 0)
    allowed = allowed and (bool(cost) or left > 0)
    return Decision(
        allowed=allowed,
        limit=limit,
        remaining=left,
        # The window is a second long: whatever it holds is gone by then.
        retry_after_s=0 if allowed else 1,
        reset_s=1 if left < limit else 0,
    )


def _storage(url: str) -> RedisStorage:
    storage = RedisStorage(
        url,
        wrap_exceptions=True,
        implementation="valkey",
        key_prefix="ratelimit",
        socket_timeout=STORE_TIMEOUT_S,
        socket_connect_timeout=STORE_TIMEOUT_S,
    )
    storage.bridge.SCRIPT_ACQUIRE_MOVING_WINDOW = _TAKE.encode()
    storage.bridge.SCRIPT_MOVING_WINDOW = _LOOK.encode()
    storage.bridge.register_scripts()
    return storage
