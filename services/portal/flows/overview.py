"""What needs attention on a site: each part comes from another API, and is left out if the client may not use it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from msgspec import Struct

from services.portal.domain.failures import FailureReport, merge_reports
from services.portal.domain.jobs import JobView, describe_job
from services.portal.domain.session import Grant
from services.portal.flows.failure_reports import FailureReports
from tillstream import AsyncClient, NotAllowedError
from tillstream.models import Invoice, Limits

T = TypeVar("T")
RECENT_JOBS = 6
# The failures of at most this number of the latest imports are read and summed up.
MAX_SUMMED_JOBS = 20
MAX_CONCURRENT_READS = 4
ATTENTION_DAYS = 7
RECENT_ORDERS = 50
_WITH_FAILURES = ("COMPLETED_WITH_WARNING", "FAILED", "EXPIRED")


class CodeOrders(Struct, frozen=True, kw_only=True):
    """Codes that are still to come, of the latest orders."""

    orders: int
    pending: int


class Attention(Struct, frozen=True, kw_only=True):
    """Imports of the last days with failures, and what their failures come to; unless `is_all`, there are more."""

    jobs: list[JobView]
    failures: FailureReport
    is_all: bool

    @property
    def failed_records(self) -> int:
        """Records that failed."""
        return sum(job.counts.failed for job in self.jobs)

    @property
    def missing_products(self) -> list[str]:
        """Products that are not in the catalogue, those with the most records first."""
        return list(dict.fromkeys(group.product for group in self.failures.groups if group.product))


class Overview(Struct, frozen=True, kw_only=True):
    """The home page. A part that the client may not see is None."""

    recent: list[JobView] | None
    attention: Attention | None
    limits: Limits | None
    codes: CodeOrders | None
    invoice: Invoice | None
    has_invoices: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing was imported yet."""
        return self.recent is not None and not self.recent


async def get_overview(client: AsyncClient, grant: Grant, *, reports: FailureReports, now: datetime) -> Overview:
    """Return what the home page shows; raises the errors of `tillstream`."""
    scopes, site = grant.scopes, grant.site
    jobs, limits, codes, invoice = await asyncio.gather(
        _read_if(bool({"status:read"} & scopes), partial(_read_jobs, client, site, reports, now)),
        _read_if(bool({"orders:write", "returns:write"} & scopes), client.imports.limits),
        _read_if(bool({"orders:read"} & scopes), partial(_count_pending_codes, client)),
        _read_if(bool({"invoices:read"} & scopes), partial(_last_invoice, client)),
    )
    recent, attention = jobs or (None, None)
    return Overview(
        recent=recent,
        attention=attention,
        limits=limits,
        codes=codes,
        invoice=invoice,
        has_invoices="invoices:read" in scopes,
    )


async def _read_if(is_allowed: bool, read: Callable[[], Awaitable[T]]) -> T | None:  # noqa: FBT001 - reads like one
    if not is_allowed:
        return None
    try:
        return await read()
    except NotAllowedError as error:
        if error.status == 401:
            raise
        return None


async def _read_jobs(
    client: AsyncClient, site: int, reports: FailureReports, now: datetime
) -> tuple[list[JobView], Attention | None]:
    page = await client.jobs.list_page(rows=RECENT_JOBS)
    recent = [describe_job(job) for job in page.items]
    return recent, await _read_attention(client, site, reports, now) if recent else None


async def _read_attention(client: AsyncClient, site: int, reports: FailureReports, now: datetime) -> Attention:
    since = now - timedelta(days=ATTENTION_DAYS)
    pages = await asyncio.gather(
        *(client.jobs.list_page(state=state, since=since, rows=MAX_SUMMED_JOBS) for state in _WITH_FAILURES)
    )
    found = [describe_job(job) for page in pages for job in page.items]
    found.sort(key=lambda job: job.created, reverse=True)
    summed = found[:MAX_SUMMED_JOBS]
    turns = asyncio.Semaphore(MAX_CONCURRENT_READS)

    async def report(job: JobView) -> FailureReport:
        async with turns:
            return await reports.get(client.jobs, site, job)

    found_reports = await asyncio.gather(*map(report, summed))
    has_more = len(found) > len(summed) or any(page.next_page_token is not None for page in pages)
    return Attention(jobs=summed, failures=merge_reports(found_reports), is_all=not has_more)


async def _count_pending_codes(client: AsyncClient) -> CodeOrders:
    orders = pending = 0
    seen = 0
    async for transaction in client.orders.list(rows=RECENT_ORDERS):
        orders += bool(transaction.counts.pending)
        pending += transaction.counts.pending
        seen += 1
        if seen == RECENT_ORDERS:
            break
    return CodeOrders(orders=orders, pending=pending)


async def _last_invoice(client: AsyncClient) -> Invoice | None:
    async for invoice in client.invoices.list(rows=1):
        return invoice
    return None
