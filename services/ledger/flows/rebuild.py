"""Rebuild the sums of a site beside the live ones, from its entries, and switch to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from services.chassis.runtime.errors import ContentionError
from services.ledger.domain.entries import GroupKey, group_sums
from services.ledger.domain.movement import Book, GroupChange, Movement, MovementBuilder, Rebuild
from services.ledger.domain.sums import difference
from services.ledger.flows.retrying import run_transaction
from services.ledger.ports import Ledger, SumStore, Transaction, Zones

CELLS_PER_MOVEMENT = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that rebuilding may touch."""

    ledger: Ledger
    sums: SumStore
    zones: Zones
    now_us: Callable[[], int]
    new_id: Callable[[], str]


async def rebuild(site: int, deps: Deps) -> int | None:
    """Rebuild the sums, in the site's present time zone; returns the number of groups, None for an unknown site.

    Sales go on being recorded, and reports show the sums as they were until all new ones are complete. If it was
    interrupted, it continues. Raises `UnavailableError`.
    """
    book = await _begin(site, deps)
    if book is None or book.rebuild is None:
        return None
    # From now on, every transaction that records changes both generations.
    await deps.ledger.fence()
    await _fold_all(deps)
    await _count_retired(book, deps)
    moved = await _move_groups(book, book.rebuild, deps)
    book = await _switch(site, deps)
    await deps.ledger.fence()
    await _fold_all(deps)
    await deps.sums.drop_before(book)
    return moved


async def _begin(site: int, deps: Deps) -> Book | None:
    async def work(transaction: Transaction) -> Book | None:
        book = (await transaction.load_books([site])).get(site)
        if book is None or book.rebuild is not None:
            return book
        book = replace(book, rebuild=Rebuild(book.generation + 1, deps.zones.of_site(site)))
        await transaction.update_book(book)
        return book

    return await run_transaction(deps.ledger, work)


async def _fold_all(deps: Deps) -> None:
    while True:
        try:
            if not (await deps.sums.fold()).count:
                return
        except ContentionError:
            # The service does the same.
            continue


async def _count_retired(book: Book, deps: Deps) -> None:
    """Take over the sums of groups that were deleted, once; retention pauses meanwhile."""
    retired = await deps.sums.retired(book)

    async def work(transaction: Transaction) -> None:
        book_now = (await transaction.load_books([book.site]))[book.site]
        rebuild = book_now.rebuild
        if rebuild is None or rebuild.has_retired_sums:
            return
        builder = MovementBuilder()
        builder.add(book.site, retired, generation=rebuild.generation, is_published=False)
        builder.retire(book.site, retired, generation=rebuild.generation)
        await _add_movement(builder, transaction, deps)
        await transaction.update_book(replace(book_now, rebuild=replace(rebuild, has_retired_sums=True)))

    await run_transaction(deps.ledger, work)


async def _move_groups(book: Book, rebuild_: Rebuild, deps: Deps) -> int:
    """Let the new generation count every group; returns how many."""
    moved = 0
    while True:
        before = moved
        async for keys in deps.ledger.scan(book.site, generation_before=rebuild_.generation):
            moved += await _move(keys, book, rebuild_, deps)
        # A group that was changed meanwhile may have been missed.
        if moved == before:
            return moved


async def _move(keys: Sequence[GroupKey], book: Book, rebuild_: Rebuild, deps: Deps) -> int:
    old_zone, new_zone = deps.zones.get(book.zone), deps.zones.get(rebuild_.zone)

    async def work(transaction: Transaction) -> int:
        builder = MovementBuilder()
        changes = []
        for stored in (await transaction.load(keys)).values():
            if stored.generation >= rebuild_.generation:
                continue
            sums = group_sums(stored.group, new_zone)
            builder.add(book.site, sums, generation=rebuild_.generation, is_published=False)
            if book.zone != rebuild_.zone:
                builder.publish(book.site, difference(sums, group_sums(stored.group, old_zone)))
            changes.append(GroupChange(stored.group, rebuild_.generation, stored.further, stored.changed))
        if changes:
            await transaction.save(changes)
            await _add_movement(builder, transaction, deps)
        return len(changes)

    return await run_transaction(deps.ledger, work)


async def _switch(site: int, deps: Deps) -> Book:
    async def work(transaction: Transaction) -> Book:
        book = (await transaction.load_books([site]))[site]
        if book.rebuild is not None:
            book = replace(book, generation=book.rebuild.generation, zone=book.rebuild.zone, rebuild=None)
            await transaction.update_book(book)
        return book

    return await run_transaction(deps.ledger, work)


async def _add_movement(builder: MovementBuilder, transaction: Transaction, deps: Deps) -> None:
    """Store the changes, in portions: the sums of years do not fit into one document."""
    for part in builder.parts():
        cells = list(part.sums.items())
        for start in range(0, len(cells), CELLS_PER_MOVEMENT):
            portion = replace(part, sums=dict(cells[start : start + CELLS_PER_MOVEMENT]))
            await transaction.add_movement(Movement(deps.new_id(), deps.now_us(), [portion]))
