"""Movements: the changes of sums that one transaction of the ledger makes."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from services.ledger.domain.entries import Group
from services.ledger.domain.sums import Amounts, Cell, Sums, add_to


class Rebuild(Struct, frozen=True):
    """New sums that are computed beside the live ones, in the zone of the site when that began."""

    generation: int
    zone: str
    has_retired_sums: bool = False


class Book(Struct, frozen=True, kw_only=True):
    """How the sums of a site are kept: their generation and the time zone of their days."""

    site: int
    zone: str
    generation: int = 1
    rebuild: Rebuild | None = None
    has_erased_users: bool = False


class StoredGroup(Struct, frozen=True):
    """A group, the generation of sums that counts it, how many further documents it has, and its last change."""

    group: Group
    generation: int
    further: int = 0
    changed: datetime | None = None


class GroupChange(Struct, frozen=True):
    """A group to store; `further` counts the stored documents beside its own, None if nothing is stored of it.

    It changes now for retention, or did at the time of `changed`.
    """

    group: Group
    generation: int
    further: int | None
    changed: datetime | None = None


class Part(Struct, frozen=True, kw_only=True):
    """Changes of one site's sums of one generation, or of none.

    Published ones leave on the topic of movements. Retired ones are sums of entries that retention has deleted: they
    are counted already.
    """

    site: int
    generation: int | None
    sums: Mapping[Cell, Amounts]
    is_published: bool = False
    is_retired: bool = False


class Movement(Struct, frozen=True):
    """What one transaction changes; `id` identifies it, and with a number each of its rows on the topic."""

    id: str
    at_us: int
    parts: Sequence[Part]


class Folded(Struct, frozen=True):
    """How many movements were folded, and whether more were waiting than fit into one transaction."""

    count: int
    has_more: bool


class MovementBuilder:
    """Collects the changes of one transaction."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, int], Sums] = {}
        self._retired: dict[tuple[int, int], Sums] = {}
        self._published: dict[int, Sums] = {}

    def add(self, site: int, changes: Mapping[Cell, Amounts], *, generation: int, is_published: bool) -> None:
        """Add changes of a site's sums of one generation."""
        add_to(self._counted.setdefault((site, generation), {}), changes)
        if is_published:
            self.publish(site, changes)

    def retire(self, site: int, sums: Mapping[Cell, Amounts], *, generation: int) -> None:
        """Add sums of groups that are deleted: they stay counted."""
        add_to(self._retired.setdefault((site, generation), {}), sums)

    def publish(self, site: int, changes: Mapping[Cell, Amounts], *, sign: int = 1) -> None:
        """Add changes that leave on the topic only, or subtract them."""
        add_to(self._published.setdefault(site, {}), changes, sign=sign)

    def parts(self) -> list[Part]:
        """Return what has changed."""
        parts = [
            Part(site=site, generation=generation, sums=sums)
            for (site, generation), sums in self._counted.items()
            if sums
        ]
        parts += [
            Part(site=site, generation=generation, sums=sums, is_retired=True)
            for (site, generation), sums in self._retired.items()
            if sums
        ]
        return parts + [
            Part(site=site, generation=None, sums=sums, is_published=True)
            for site, sums in self._published.items()
            if sums
        ]


class StoredSums(Struct, frozen=True):
    """All sums of a site: without stores, by store, and those of groups that were deleted."""

    all_stores: Sums
    by_store: Sums
    retired: Sums
