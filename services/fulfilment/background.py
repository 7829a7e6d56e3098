"""Looks for pending transactions whose time has come, whoever had them before."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.fulfilment import metrics

LEASE_US = 10_000_000
# A supplier that lets everybody wait gives always something to do; who does not come to an end is taken for stuck.
MAX_SWEEP_US = 10_000_000
_LOG = logger(__name__)


class Pending(Protocol):
    """Knows the pending transactions. Each call raises `Away`."""

    async def claim_due(self, *, limit: int, lease_us: int) -> Sequence[str]:
        """The ids of those whose time has come; nobody else gets them while the lease lasts."""
        ...

    async def count_pending(self) -> tuple[int, int | None]:
        """How many are pending, and since when the oldest is."""
        ...


class Sweeper:
    """Claims what is due and fulfils it. A transaction that fails is due again when its lease ends."""

    def __init__(
        self,
        transactions: Pending,
        fulfil: Callable[[str], Awaitable[object]],
        *,
        batch_size: int,
        now_us: Callable[[], int],
    ) -> None:
        self._pending = transactions
        self._fulfil = fulfil
        self._most = batch_size
        self._now_us = now_us

    async def sweep(self) -> None:
        """Look until nothing is due, or for so long that it is the next turn's. Raises `Away`."""
        until_us = self._now_us() + MAX_SWEEP_US
        while due := await self._pending.claim_due(limit=self._most, lease_us=LEASE_US):
            for outcome in await asyncio.gather(*map(self._fulfil, due), return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, UnavailableError):
                    _LOG.error("a transaction could not be fulfilled", exc_info=outcome)
                elif isinstance(outcome, BaseException):
                    raise outcome
            if self._now_us() >= until_us:
                return

    async def update_metrics(self) -> None:
        """Tell how many are pending, and for how long, whatever becomes of those that are looked at. Raises `Away`."""
        count, oldest_us = await self._pending.count_pending()
        metrics.PENDING.set(count)
        metrics.OLDEST_PENDING.set(0 if oldest_us is None else max(self._now_us() - oldest_us, 0) / 1_000_000)
