"""Answer questions about entries and sums."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from msgspec import Struct

from services.chassis.runtime.errors import UnavailableError
from services.ledger.domain.entries import group_sums
from services.ledger.domain.report import ReportBuilder, ReportQuery, ReportRow
from services.ledger.ports import EntryReader, ReportReader, ReportView, Zones

# More rows are built in a thread: they would hold up other requests.
ROWS_PER_TURN = 1_000


class Report(Struct, frozen=True, kw_only=True):
    """A report and what it is about: complete up to `as_of_us`, with days of `zone`."""

    as_of_us: int
    zone: str
    query: ReportQuery
    rows: list[ReportRow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that answering may touch. `as_of_us` returns None while it is unknown."""

    entries: EntryReader
    reports: ReportReader
    zones: Zones
    as_of_us: Callable[[], int | None]


async def get_report(site: int, query: ReportQuery, deps: Deps, *, zone: str | None = None) -> Report:
    """Return a report; raises `UnavailableError` and `ReportTooLargeError`.

    With the zone of the site's books, or none, it is read from the sums; with any other it is computed from all
    entries with a sale or a return in the range.
    """
    as_of_us = deps.as_of_us()
    if as_of_us is None:
        raise UnavailableError("Kafka")
    builder = ReportBuilder(query)
    async with deps.reports.view() as view:
        book = await view.book(site)
        kept_in = deps.zones.of_site(site) if book is None else book.zone
        if zone is not None and zone != kept_in:
            await _add_entries(builder, view, site, query, deps.zones.get(zone))
        elif book is not None:
            async for months in view.months(book, query):
                builder.add_months(months)
            for part in await view.unfolded(book):
                if not part.is_retired:
                    builder.add_cells(part.sums)
    is_large = builder.row_count > ROWS_PER_TURN
    rows = await asyncio.to_thread(builder.rows) if is_large else builder.rows()
    return Report(as_of_us=as_of_us, zone=zone or kept_in, query=query, rows=rows)


async def _add_entries(builder: ReportBuilder, view: ReportView, site: int, query: ReportQuery, zone: tzinfo) -> None:
    first_us, last_us = query.instants(zone)
    async for group in view.groups(site, first_us=first_us, last_us=last_us):
        builder.add_cells(group_sums(group, zone))
