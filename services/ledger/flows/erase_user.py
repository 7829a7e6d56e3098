"""Erase a user of a site: a pseudonym replaces the user in all entries, now and in whatever is recorded later."""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from services.ledger import metrics
from services.ledger.domain.entries import erase_user as erase_from_group
from services.ledger.domain.movement import Book, GroupChange
from services.ledger.flows.retrying import run_transaction
from services.ledger.ports import Erasure, Erasures, Ledger, Transaction, Zones

GROUPS_PER_TRANSACTION = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that erasing may touch."""

    ledger: Ledger
    erasures: Erasures
    zones: Zones
    site_key: Callable[[int], bytes]
    now_us: Callable[[], int]
    new_id: Callable[[], str]


async def request_erasure(site: int, user_id: str, deps: Deps) -> Erasure:
    """Put the user on the list of those to erase; asking again returns the same erasure. Raises `UnavailableError`."""
    return await deps.erasures.request(
        site, user_id, receipt=deps.new_id(), pseudonym=f"erased-{deps.new_id()}", at_us=deps.now_us()
    )


async def erase_pending(deps: Deps) -> int:
    """Erase the users on the list; returns how many. Raises `UnavailableError`; it may then be repeated."""
    pending = await deps.erasures.pending()
    metrics.ERASURES_PENDING.set(len(pending))
    for erasure in pending:
        await _erase(erasure, deps)
        metrics.ERASURES_PENDING.dec()
    return len(pending)


async def _erase(erasure: Erasure, deps: Deps) -> None:
    if erasure.user_id is None:
        return
    await _mark_book(erasure.site, deps)
    # From now on, records of the user are pseudonymous when they come: what was recorded before can be found.
    await deps.ledger.fence()
    while await _erase_batch(erasure.site, erasure.user_id, erasure.pseudonym, deps):
        pass
    await deps.erasures.complete(erasure, at_us=deps.now_us())


async def _mark_book(site: int, deps: Deps) -> None:
    async def work(transaction: Transaction) -> None:
        book = (await transaction.load_books([site])).get(site)
        if book is None:
            await transaction.add_book(Book(site=site, zone=deps.zones.of_site(site), has_erased_users=True))
        elif not book.has_erased_users:
            await transaction.update_book(replace(book, has_erased_users=True))

    await run_transaction(deps.ledger, work)


async def _erase_batch(site: int, user_id: str, pseudonym: str, deps: Deps) -> int:
    key = deps.site_key(site)

    async def work(transaction: Transaction) -> int:
        stored = await transaction.load_of_user(site, user_id, limit=GROUPS_PER_TRANSACTION)
        changes = [
            GroupChange(
                erase_from_group(each.group, user_id, pseudonym, key), each.generation, each.further, each.changed
            )
            for each in stored
        ]
        if changes:
            await transaction.save(changes)
        return len(changes)

    return await run_transaction(deps.ledger, work)
