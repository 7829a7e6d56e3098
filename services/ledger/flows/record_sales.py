"""Record orders and returns: the entries and the changes of the sums, in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

from services.ledger.domain.entries import (
    Group,
    GroupKey,
    apply_record,
    empty_group,
    erase_user,
    group_key,
    group_sums,
)
from services.ledger.domain.movement import Book, GroupChange, Movement, MovementBuilder, StoredGroup
from services.ledger.domain.sums import Sums, difference
from services.ledger.domain.versions import erase_person
from services.ledger.flows.retrying import run_transaction
from services.ledger.ports import EntryTooLargeError, Ledger, Transaction, Zones
from services.sales.records import SalesRecord

# Of all orders and returns with one order id, about 3 MB: a page or a portion needs several of them at once.
MAX_LINES_PER_GROUP = 10_000
# By site and user.
Pseudonyms = dict[tuple[int, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that recording may touch. `site_key` returns the key of a site's fingerprints."""

    ledger: Ledger
    zones: Zones
    site_key: Callable[[int], bytes]
    now_us: Callable[[], int]
    new_id: Callable[[], str]


async def record_sales(records: Sequence[SalesRecord], deps: Deps, *, offsets: Mapping[str, int]) -> int:
    """Record the sales, and note the partitions' next offsets; returns how many groups have changed.

    Returns once everything is durable: the caller may commit. The entries and the changes of the sums follow from the
    stored state, so recording the same again changes nothing. Raises `EntryTooLargeError`, `UnavailableError`.
    """

    async def work(transaction: Transaction) -> int:
        await transaction.advance(offsets)
        return await _record(records, transaction, deps)

    return await run_transaction(deps.ledger, work)


async def _record(records: Sequence[SalesRecord], transaction: Transaction, deps: Deps) -> int:
    books = await _load_books({record.site for record in records}, transaction, deps)
    pseudonyms = await _load_pseudonyms(records, books, transaction)
    by_group = _group(records)
    stored = await transaction.load(list(by_group))
    changes = _merge(by_group, stored, books, pseudonyms, deps)
    if not changes:
        return 0
    await transaction.save(changes)
    parts = _movement(changes, stored, books, deps).parts()
    if parts:
        await transaction.add_movement(Movement(deps.new_id(), deps.now_us(), parts))
    return len(changes)


async def _load_books(sites: Iterable[int], transaction: Transaction, deps: Deps) -> dict[int, Book]:
    """Return the books of the sites; a site without one gets it, in the site's present time zone."""
    needed = sorted(sites)
    books = await transaction.load_books(needed)
    for site in needed:
        if site not in books:
            books[site] = Book(site=site, zone=deps.zones.of_site(site))
            await transaction.add_book(books[site])
    return books


async def _load_pseudonyms(
    records: Sequence[SalesRecord], books: Mapping[int, Book], transaction: Transaction
) -> Pseudonyms:
    """Return the pseudonyms of those users of the records who are, or are to be, erased."""
    pseudonyms: Pseudonyms = {}
    for site in [site for site, book in books.items() if book.has_erased_users]:
        users = sorted({record.user_id for record in records if record.site == site})
        found = await transaction.load_pseudonyms(site, users)
        pseudonyms |= {(site, user_id): pseudonym for user_id, pseudonym in found.items()}
    return pseudonyms


def _group(records: Iterable[SalesRecord]) -> dict[GroupKey, list[SalesRecord]]:
    by_group: dict[GroupKey, list[SalesRecord]] = {}
    for record in records:
        by_group.setdefault(group_key(record), []).append(record)
    return by_group


def _merge(
    by_group: Mapping[GroupKey, Sequence[SalesRecord]],
    stored: Mapping[GroupKey, StoredGroup],
    books: Mapping[int, Book],
    pseudonyms: Pseudonyms,
    deps: Deps,
) -> list[GroupChange]:
    """Return the groups that the records change; raises `EntryTooLargeError`."""
    changes = []
    for key, records in by_group.items():
        known = stored.get(key)
        before = known.group if known is not None else empty_group(key)
        after = _apply(before, records, pseudonyms, deps.site_key(key.site))
        if after is not before:
            if after.line_count > max(MAX_LINES_PER_GROUP, before.line_count):
                raise EntryTooLargeError(f"the records of an order have more than {MAX_LINES_PER_GROUP} lines")
            generation = _newest_generation(books[key.site]) if known is None else known.generation
            changes.append(GroupChange(after, generation, None if known is None else known.further))
    return changes


def _apply(group: Group, records: Sequence[SalesRecord], pseudonyms: Pseudonyms, fingerprint_key: bytes) -> Group:
    """Return the group with the records, those of erased users without the person."""
    for record in records:
        pseudonym = pseudonyms.get((record.site, record.user_id))
        if pseudonym is None:
            group = apply_record(group, record, fingerprint_key)
            continue
        if record.user_id in group.users:
            # Otherwise a version that is stored already would be taken for another one, and count twice.
            group = erase_user(group, record.user_id, pseudonym, fingerprint_key)
        group = apply_record(group, erase_person(record, pseudonym), fingerprint_key)
    return group


def _newest_generation(book: Book) -> int:
    return book.generation if book.rebuild is None else book.rebuild.generation


def _movement(
    changes: Sequence[GroupChange], stored: Mapping[GroupKey, StoredGroup], books: Mapping[int, Book], deps: Deps
) -> MovementBuilder:
    builder = MovementBuilder()
    for change in changes:
        known = stored.get(change.group.key)
        after = StoredGroup(change.group, change.generation)
        count_change(known, after, books[change.group.key.site], deps.zones, builder)
    return builder


def count_change(
    before: StoredGroup | None, after: StoredGroup | None, book: Book, zones: Zones, builder: MovementBuilder
) -> None:
    """Add what a change of a group changes of the sums.

    While they are rebuilt, a group that the new generation counts already changes both; the topic gets the change in
    the zone of the generation that counts the group.
    """
    rebuild = book.rebuild
    known = after or before
    is_moved = rebuild is not None and known is not None and known.generation == rebuild.generation
    changes = _difference(before, after, zones.get(book.zone))
    builder.add(book.site, changes, generation=book.generation, is_published=not is_moved)
    if rebuild is not None and is_moved:
        changes = _difference(before, after, zones.get(rebuild.zone))
        builder.add(book.site, changes, generation=rebuild.generation, is_published=True)


def _difference(before: StoredGroup | None, after: StoredGroup | None, zone: tzinfo) -> Sums:
    new: Sums = {} if after is None else group_sums(after.group, zone)
    return new if before is None else difference(new, group_sums(before.group, zone))
