"""Compare the sums of a site with its entries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec import Struct

from services.ledger import metrics
from services.ledger.domain.entries import group_sums
from services.ledger.domain.movement import StoredSums
from services.ledger.domain.sums import Amounts, Cell, Sums, add_to, difference, without_store
from services.ledger.ports import ReportReader, ReportView, Zones


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that an audit may touch."""

    reports: ReportReader
    zones: Zones
    now_us: Callable[[], int]


class Audit(Struct, frozen=True, kw_only=True):
    """The result: by how much the sums differ from the entries, without stores and by store."""

    site: int
    groups: int
    all_stores: Sums
    by_store: Sums

    @property
    def differing(self) -> int:
        """How many sums differ."""
        return len(self.all_stores) + len(self.by_store)


async def audit_all(deps: Deps) -> list[Audit]:
    """Audit all sites, and set the metrics; raises `UnavailableError`."""
    async with deps.reports.view() as view:
        sites = await view.sites()
    results = [await audit(site, deps) for site in sites]
    metrics.DIFFERING_SUMS.set(sum(result.differing for result in results))
    metrics.AUDITED_AT.set(deps.now_us() / 1_000_000)
    return results


async def audit(site: int, deps: Deps) -> Audit:
    """Compare all sums of the site with its entries, as both are at one instant; raises `UnavailableError`."""
    async with deps.reports.view() as view:
        book = await view.book(site)
        if book is None:
            return Audit(site=site, groups=0, all_stores={}, by_store={})
        stored = await view.all_sums(book)
        for part in await view.unfolded(book):
            _add_part(stored, part.sums, is_retired=part.is_retired)
        counted, groups = await _count(view, site, deps, zone=book.zone)
    add_to(counted, stored.retired)
    return Audit(
        site=site,
        groups=groups,
        all_stores=difference(stored.all_stores, without_store(counted)),
        by_store=difference(stored.by_store, counted),
    )


def _add_part(stored: StoredSums, sums: Mapping[Cell, Amounts], *, is_retired: bool) -> None:
    if is_retired:
        add_to(stored.retired, sums)
        return
    add_to(stored.by_store, sums)
    add_to(stored.all_stores, without_store(sums))


async def _count(view: ReportView, site: int, deps: Deps, *, zone: str) -> tuple[Sums, int]:
    sums: Sums = {}
    groups = 0
    kept_in = deps.zones.get(zone)
    async for group in view.groups(site):
        add_to(sums, group_sums(group, kept_in))
        groups += 1
    return sums, groups
