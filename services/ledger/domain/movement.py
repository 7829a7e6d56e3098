"""Movements: the changes of sums that one transaction of the ledger makes."""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from services.ledger.domain.entries import Group
from services.ledger.domain.sums import Amounts, Cell, Sums, add_to

PerSite = dict[int, Sums]


class Rebuild(Struct, frozen=True):
    """New sums that are computed beside the live ones, in the zone of the site when that began."""

    generation: int
    zone: str


class Book(Struct, frozen=True, kw_only=True):
    """How the sums of a site are kept: their generation and the time zone of their days."""

    site: int
    zone: str
    generation: int = 1
    rebuild: Rebuild | None = None
    has_erased_users: bool = False


class StoredGroup(Struct, frozen=True):
    """A group, the generation of sums that counts it, and how many further documents it has."""

    group: Group
    generation: int
    further: int = 0


class GroupChange(Struct, frozen=True):
    """A group to store; `further` counts the stored documents beside its own, None if nothing is stored of it."""

    group: Group
    generation: int
    further: int | None


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


class MovementBuilder:
    """Collects the changes of one transaction."""

    def __init__(self) -> None:
        self._counted: dict[tuple[int, int], Sums] = {}
        self._published: PerSite = {}

    def add(self, site: int, changes: Mapping[Cell, Amounts], *, generation: int, is_published: bool) -> None:
        """Add changes of a site's sums of one generation."""
        add_to(self._counted.setdefault((site, generation), {}), changes)
        if is_published:
            self.publish(site, changes)

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
        return parts + [
            Part(site=site, generation=None, sums=sums, is_published=True)
            for site, sums in self._published.items()
            if sums
        ]


def sites_of(parts: Iterable[Part]) -> list[int]:
    """Return the sites of the parts, each once."""
    return sorted({part.site for part in parts})
