"""Rate limit shared by several processes, through a window in Valkey or Redis.

Without a store, or while it is unavailable, each process limits on its own.
"""

import math
from collections.abc import Callable
from time import monotonic
from typing import Any, Self

from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from services.chassis.http.rate_limit import Decision, RateLimit
from services.chassis.runtime import metrics
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import RateLimitSettings

STORE_ERRORS = metrics.counter("ratelimit_store_errors_total", "Failed calls of the shared rate limit's store.")
STORE_UNAVAILABLE = metrics.gauge(
    "ratelimit_store_unavailable", "1 while each process limits on its own instead of all together."
)

STORE_TIMEOUT_S = 0.25
FALLBACK_S = 1.0
_LOG = logger(__name__)

# The library's own scripts trust the clients' clocks: a wrong one would lock a key out, or double its limit. These
# scripts do the same with the store's clock.
_NOW = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
"""
_ACQUIRE = (
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
_PEEK = (
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
    """At most `limit` units in any second, per key, over all processes that use the same store.

    The local window is maintained as well: what it refuses needs no call of the store, and it takes over when the
    store does not answer.
    """

    def __init__(self, local: RateLimit, *, url: str | None, clock: Callable[[], float] = monotonic) -> None:
        self._local = local
        self._clock = clock
        self._fallback_until = -math.inf
        self._storage = None if url is None else _open_storage(url)
        self._shared = None if self._storage is None else MovingWindowRateLimiter(self._storage)

    @classmethod
    def from_settings(cls, settings: RateLimitSettings) -> Self:
        """Build it with the store of the settings, if they name one."""
        url = settings.rate_limit_url
        return cls(RateLimit(), url=url.get_secret_value() if url else None)

    async def start(self) -> None:
        """Do nothing: the first call connects."""

    async def stop(self) -> None:
        """Close the connection to the store."""
        if self._storage is not None:
            bridge: Any = self._storage.bridge
            await bridge.get_connection().aclose()

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` units if the last second has them."""
        if self._shared is None or self._local.peek(key, limit=limit).remaining < cost:
            return self._local.acquire(key, limit=limit, cost=cost)
        decision = await self._ask_store(key, limit=limit, cost=cost)
        if decision is not None and not decision.allowed:
            return decision
        local = self._local.acquire(key, limit=limit, cost=cost)
        return decision or local

    async def peek(self, key: str, *, limit: int) -> Decision:
        """Decide as `acquire` would for one unit; spend nothing."""
        local = self._local.peek(key, limit=limit)
        decision = await self._ask_store(key, limit=limit, cost=0) if local.allowed else None
        return decision or local

    def has_quota_nowait(self, key: str, *, limit: int) -> bool:
        """Whether `acquire_nowait` would spend a unit now: never with a store, which would have to be asked."""
        return self._shared is None and self._local.has_quota(key, limit=limit)

    def acquire_nowait(self, key: str, *, limit: int) -> Decision | None:
        """Spend one unit as `acquire` does; None, and nothing is spent, if it refuses or would ask the store."""
        decision = self._local.acquire(key, limit=limit) if self._shared is None else None
        return decision if decision is not None and decision.allowed else None

    async def _ask_store(self, key: str, *, limit: int, cost: int) -> Decision | None:
        """Return the store's decision; None without a store, or while it is unavailable."""
        if self._shared is None or self._clock() < self._fallback_until:
            return None
        try:
            decision = await _decide(self._shared, key, limit=limit, cost=cost)
        except Exception as error:  # noqa: BLE001 - the store's client also raises errors of the event loop
            self._fall_back(error)
            return None
        STORE_UNAVAILABLE.set(0)
        return decision

    def _fall_back(self, error: Exception) -> None:
        cause = error.storage_error if isinstance(error, StorageError) else error
        STORE_ERRORS.inc()
        STORE_UNAVAILABLE.set(1)
        self._fallback_until = self._clock() + FALLBACK_S
        _LOG.warning("rate limit store unavailable, limiting locally", error=type(cause).__name__)


async def _decide(shared: MovingWindowRateLimiter, key: str, *, limit: int, cost: int) -> Decision:
    """Spend `cost` units if the shared window has them; a cost of 0 decides as for one unit and spends nothing."""
    item = RateLimitItemPerSecond(limit, namespace="tillstream")
    allowed = await shared.hit(item, key, cost=cost) if cost else True
    remaining = max((await shared.get_window_stats(item, key)).remaining, 0)
    allowed = allowed and (bool(cost) or remaining > 0)
    return Decision(
        allowed=allowed,
        limit=limit,
        remaining=remaining,
        # The window is one second long: by then it is empty.
        retry_after_s=0 if allowed else 1,
        reset_s=1 if remaining < limit else 0,
        decided_at=monotonic(),
    )


def _open_storage(url: str) -> RedisStorage:
    storage = RedisStorage(
        url,
        wrap_exceptions=True,
        implementation="valkey",
        key_prefix="ratelimit",
        socket_timeout=STORE_TIMEOUT_S,
        socket_connect_timeout=STORE_TIMEOUT_S,
    )
    storage.bridge.SCRIPT_ACQUIRE_MOVING_WINDOW = _ACQUIRE.encode()
    storage.bridge.SCRIPT_MOVING_WINDOW = _PEEK.encode()
    storage.bridge.register_scripts()
    return storage
