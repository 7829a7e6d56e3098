"""Looks for pending transactions whose time has come, whoever had them before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from services.chassis.errors import Away
from services.chassis.logs import logger
from services.fulfilment import metrics

LEASE_US = 10_000_000
_LOG = logger(__name__)


class Pending(Protocol):
    """Knows the pending transactions. Each call raises `Away`."""

    async def claim_due(self, *, most: int, lease_us: int) -> Sequence[str]:
        """The ids of those whose time has come; nobody else gets them while the lease lasts."""
        ...

    async def pending(self) -> tuple[int, int | None]:
        """How many are pending, and since when the oldest is."""
        ...


class Sweeper:
    """Claims what is due and fulfils it. A transaction that fails is due again when its lease ends."""

    def __init__(
        self, pending: Pending, fulfil: Callable[[str], Awaitable[object]], *, most: int, now_us: Callable[[], int]
    ) -> None:
        self._pending = pending
        self._fulfil = fulfil
        self._most = most
        self._now_us = now_us

    async def sweep(self) -> None:
        """Look until nothing is due. Raises `Away`."""
        while due := await self._pending.claim_due(most=self._most, lease_us=LEASE_US):
            for outcome in await asyncio.gather(*map(self._fulfil, due), return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, Away):
                    _LOG.error("a transaction could not be fulfilled", exc_info=outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
        await self._measure()

    async def _measure(self) -> None:
        count, oldest_us = await self._pending.pending()
        metrics.PENDING.set(count)
        metrics.OLDEST_PENDING.set(0 if oldest_us is None else max(self._now_us() - oldest_us, 0) / 1_000_000)
