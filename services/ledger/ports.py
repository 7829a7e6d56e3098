"""What the ledger's flows need from stores and Kafka."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, tzinfo
from typing import Protocol

from msgspec import Struct

from services.ledger.domain.entries import Entry, Group, GroupKey
from services.ledger.domain.listing import EntryPage, EntryQuery, ListedEntry
from services.ledger.domain.movement import Book, Folded, GroupChange, Movement, Part, StoredGroup, StoredSums
from services.ledger.domain.report import MonthSums, ReportQuery
from services.ledger.domain.sums import Sums


class EntryTooLargeError(Exception):
    """An order and its returns do not fit into one document."""


class Transaction(Protocol):
    """One transaction: it sees one state of the store, and all of its changes are stored or none.

    Every call raises `ContentionError` if another transaction has changed the same, and `UnavailableError`.
    """

    async def advance(self, offsets: Mapping[str, int]) -> None:
        """Note how far partitions are recorded; two transactions of one partition exclude each other."""

    async def load_books(self, sites: Sequence[int]) -> dict[int, Book]:
        """Return the books that exist."""

    async def add_book(self, book: Book) -> None:
        """Store a new book."""

    async def load_pseudonyms(self, site: int, user_ids: Sequence[str]) -> dict[str, str]:
        """Return the pseudonyms of those users that were erased."""

    async def load(self, keys: Sequence[GroupKey]) -> dict[GroupKey, StoredGroup]:
        """Return the groups that exist."""

    async def load_of_user(self, site: int, user_id: str, *, limit: int) -> list[StoredGroup]:
        """Return up to about `limit` groups with a record, or an earlier version, of the user."""

    async def load_unchanged_since(self, before: datetime, *, limit: int) -> list[StoredGroup]:
        """Return up to `limit` groups that have not changed since then."""

    async def save(self, changes: Sequence[GroupChange]) -> None:
        """Store the groups; raises `EntryTooLargeError`."""

    async def delete(self, groups: Sequence[StoredGroup]) -> None:
        """Delete the groups."""

    async def add_movement(self, movement: Movement) -> None:
        """Store what the transaction changes of the sums."""

    async def update_book(self, book: Book) -> None:
        """Replace the site's book."""


class Ledger(Protocol):
    """Where the ledger is kept."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; it is committed at the end of the block, unless the block raises."""

    async def fence(self) -> None:
        """Return when every transaction that records sales either has ended or sees the books as they are now."""

    def scan(self, site: int, *, generation_before: int) -> AsyncIterator[list[GroupKey]]:
        """Yield the keys of the site's groups that an earlier generation counts."""

    async def add_partitions(self, partitions: Sequence[str]) -> None:
        """Make `fence` cover transactions that advance these partitions; without it their first one is not."""


class SumStore(Protocol):
    """Where sums are kept."""

    async def fold(self) -> Folded:
        """Add a batch of movements to the sums. Raises `ContentionError` and `UnavailableError`."""

    async def retired(self, book: Book) -> Sums:
        """Return the sums of groups that were deleted."""

    async def drop_before(self, book: Book) -> None:
        """Delete the sums of earlier generations of the site than the book's."""


class Erasure(Struct, frozen=True, kw_only=True):
    """The erasure of a user; `user_id` is known until it is complete."""

    receipt: str
    site: int
    pseudonym: str
    requested_us: int
    user_id: str | None = None
    completed_us: int | None = None


class Erasures(Protocol):
    """The list of erased users, who are not named in it. Every call raises `UnavailableError`."""

    async def request(self, site: int, user_id: str, *, receipt: str, pseudonym: str, at_us: int) -> Erasure:
        """Put the user on the list, and return the erasure; if the user is on it, that which exists."""

    async def find(self, site: int, receipt: str) -> Erasure | None:
        """Return an erasure of the site."""

    async def pending(self) -> list[Erasure]:
        """Return the erasures that are not complete, the oldest first."""

    async def complete(self, erasure: Erasure, *, at_us: int) -> None:
        """Note that the erasure is complete, and forget who the user is."""


class EntryReader(Protocol):
    """Reads entries."""

    async def list_newest(self, query: EntryQuery, *, rows: int) -> EntryPage:
        """Return up to `rows` entries, newest first. Fewer may be found although more follow."""

    def iterate_oldest(self, query: EntryQuery) -> AsyncGenerator[Sequence[ListedEntry]]:
        """Yield batches of entries, oldest first; close it if it is not read to its end."""

    async def find_order(self, key: GroupKey) -> list[Entry]:
        """Return the entries with this order id."""


class ReportView(Protocol):
    """Sums, books and entries as they are together at one instant."""

    async def book(self, site: int) -> Book | None:
        """Return the site's book."""

    def months(self, book: Book, query: ReportQuery) -> AsyncIterator[Sequence[MonthSums]]:
        """Return the stored sums of a report."""

    async def unfolded(self, book: Book) -> list[Part]:
        """Return the changes of the site's sums that are not yet in the stored sums."""

    async def sites(self) -> list[int]:
        """Return all sites with a book."""

    async def all_sums(self, book: Book) -> StoredSums:
        """Return all sums of the site that are stored."""

    def groups(self, site: int, *, first_us: int | None = None, last_us: int | None = None) -> AsyncIterator[Group]:
        """Yield the site's groups, or those with a sale or return between these instants."""


class ReportReader(Protocol):
    """Reads what reports show."""

    def view(self) -> AbstractAsyncContextManager[ReportView]:
        """Begin reads that see one state; raises `UnavailableError`."""


class Zones(Protocol):
    """Time zones."""

    def of_site(self, site: int) -> str:
        """Return the name of the site's present time zone."""

    def get(self, name: str) -> tzinfo:
        """Return a time zone by its name."""
