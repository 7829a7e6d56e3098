"""Run a transaction until no other one gets in its way."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.chassis.runtime.errors import ContentionError
from services.ledger import metrics
from services.ledger.ports import Ledger, Transaction

T = TypeVar("T")
# That many failures in a row mean that something is wrong.
MAX_ATTEMPTS = 20
BACKOFF_S = 0.01


async def run_transaction(ledger: Ledger, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Return the result of `work` in a committed transaction; raises `UnavailableError`, and what `work` raises."""
    for attempt in range(MAX_ATTEMPTS):
        try:
            async with ledger.transaction() as transaction:
                result = await work(transaction)
        except ContentionError:
            metrics.CONFLICTS.inc()
            await asyncio.sleep(BACKOFF_S * attempt)
        else:
            return result
    raise ContentionError("the ledger")
