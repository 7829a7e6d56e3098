"""Periodic work: fulfils due transactions, and reports how many are pending."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.fulfilment import metrics
from services.fulfilment.flows.single_flight import run_all
from services.fulfilment.ports import TransactionStore

LEASE_US = 10_000_000
# A supplier that always answers "not yet" keeps transactions due forever: stop, so that liveness sees progress.
MAX_SWEEP_US = 10_000_000


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Claims due transactions and fulfils them. One that fails is due again when its lease expires."""

    transactions: TransactionStore
    fulfil: Callable[[str], Awaitable[object]]
    batch_size: int
    now_us: Callable[[], int]

    async def sweep(self) -> None:
        """Fulfil until no transaction is due, at most for `MAX_SWEEP_US`; raises `UnavailableError`."""
        started_us = self.now_us()
        while due := await self.transactions.claim_due(limit=self.batch_size, lease_us=LEASE_US):
            await run_all(self.fulfil, due)
            if not 0 <= self.now_us() - started_us < MAX_SWEEP_US:
                return

    async def update_metrics(self) -> None:
        """Report the number of pending transactions and the age of the oldest; raises `UnavailableError`."""
        count, oldest_us = await self.transactions.count_pending()
        metrics.PENDING.set(count)
        metrics.OLDEST_PENDING.set(0 if oldest_us is None else max(self.now_us() - oldest_us, 0) / 1_000_000)
