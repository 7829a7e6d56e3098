"""Lists of entries."""

from typing import NamedTuple

from msgspec import Struct

from services.ledger.domain.entries import Entry, GroupKey
from services.ledger.domain.report import Filter


class ListedEntry(NamedTuple):
    """An entry, and its place in lists."""

    position: str
    key: GroupKey
    entry: Entry


class EntryPage(NamedTuple):
    """Entries, and the position to continue after, if there are more.

    `line_count` is the number of lines of all orders and returns that were read for them.
    """

    entries: list[ListedEntry]
    following: str | None
    line_count: int


class EntryQuery(Struct, frozen=True, kw_only=True):
    """Selects entries of a site, or of one of its users. `after` is the position of the last one seen."""

    site: int
    user_id: str | None = None
    from_us: int | None = None
    to_us: int | None = None
    filter: Filter = Filter()
    after: str | None = None
