"""Sums of sales, and the files that hold the same."""

import asyncio
from collections.abc import Sequence

from msgspec import Struct

from services.portal.domain.sales_report import SalesFilter, SalesView, describe_sales, list_channels
from tillstream import AsyncClient
from tillstream.models import Report


class SalesReport(Struct, frozen=True, kw_only=True):
    """A report in one currency, and what it can be narrowed to."""

    report: Report
    sales: SalesView
    channels: Sequence[str]


async def get_sales(client: AsyncClient, chosen: SalesFilter) -> SalesReport:
    """Return the sales that a filter selects; raises the errors of `tillstream`."""
    period = chosen.period
    report, by_channel = await asyncio.gather(
        client.ledger.report(
            by=[chosen.by], since=period.first, until=period.last, channel=chosen.channel, mode=chosen.mode
        ),
        client.ledger.report(by=["channel"], since=period.first, until=period.last),
    )
    return SalesReport(report=report, sales=describe_sales(report, chosen), channels=list_channels(by_channel))


async def get_sales_file(client: AsyncClient, chosen: SalesFilter, *, format_: str) -> bytes:
    """Return the table of a report as `csv` or `xlsx`: the same filter, so the same sums."""
    return await client.ledger.report_file(
        format=format_,
        by=[chosen.by],
        since=chosen.period.first,
        until=chosen.period.last,
        currency=chosen.currency,
        channel=chosen.channel,
        mode=chosen.mode,
    )
