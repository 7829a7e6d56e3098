"""Delete entries that have not changed for years; the sums keep what they added."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.ledger import metrics
from services.ledger.domain.entries import group_sums
from services.ledger.domain.movement import Movement, MovementBuilder
from services.ledger.flows.retrying import run_transaction
from services.ledger.ports import Ledger, Transaction, Zones

MAX_GROUPS_PER_RUN = 200
# Makes rebuilds wait for a run in progress.
PARTITION = "retention"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that expiry may touch."""

    ledger: Ledger
    zones: Zones
    now: Callable[[], datetime]
    new_id: Callable[[], str]


async def expire_entries(deps: Deps, *, retention: timedelta) -> int:
    """Delete a batch of groups whose last change is older; returns how many. Raises `UnavailableError`."""
    now = deps.now()
    await deps.ledger.add_partitions([PARTITION])

    async def work(transaction: Transaction) -> int:
        await transaction.advance({PARTITION: int(now.timestamp())})
        groups = await transaction.load_unchanged_since(now - retention, limit=MAX_GROUPS_PER_RUN)
        books = await transaction.load_books(sorted({stored.group.key.site for stored in groups}))
        # Sums that are being rebuilt take over what was retired before.
        expired = [stored for stored in groups if books[stored.group.key.site].rebuild is None]
        if not expired:
            return 0
        builder = MovementBuilder()
        for stored in expired:
            book = books[stored.group.key.site]
            sums = group_sums(stored.group, deps.zones.get(book.zone))
            builder.retire(book.site, sums, generation=book.generation)
        await transaction.delete(expired)
        await transaction.add_movement(Movement(deps.new_id(), int(now.timestamp() * 1_000_000), builder.parts()))
        return len(expired)

    count = await run_transaction(deps.ledger, work)
    metrics.EXPIRED.inc(count)
    return count
