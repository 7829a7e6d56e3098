"""Handlers of the ledger API: authenticate, parse, query, respond."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from aiohttp import web
from msgspec import UNSET, Raw
from msgspec.structs import replace

from services.chassis.http.openapi import openapi_route
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import PageTokenCodec, TokenScope, next_link, page_token_from_query, pagination
from services.chassis.http.time_range import parse_from_us, parse_to_us
from services.chassis.runtime.errors import Problem
from services.chassis.runtime.time_zones import load_time_zone
from services.ledger.domain.entries import GroupKey
from services.ledger.domain.listing import EntryQuery
from services.ledger.domain.report import MAX_REPORT_ROWS, ReportQuery, ReportTooLargeError
from services.ledger.domain.sums import day_of
from services.ledger.flows import queries
from services.ledger.http import params, responses
from services.ledger.http.access import BASE, PRIVATE, Access, Scans
from services.ledger.http.exports import stream_orders
from services.ledger.http.tables import CsvWriter, TableWriter, XlsxWriter
from services.values.identifiers import has_lone_surrogate
from services.values.sites import Site

READ = "sales:read"
# A page ends with the entry that reaches this size.
MAX_PAGE_BYTES = 1024 * 1024
# Entries that are read at once; fewer at first, and while they are large.
FIRST_PORTION, LATER_PORTIONS = 10, 100
# Reading and rendering an entry of this size, or with this number of lines, takes a fraction of a millisecond.
MANY_BYTES = 4_096
MANY_LINES = 40
_JSON = {"content_type": params.JSON, "charset": "utf-8"}


class PageTokens:
    """Tokens that continue a list after an entry."""

    def __init__(self, secret: str) -> None:
        self._codec = PageTokenCodec(secret, salt="ledger.page")

    def encode(self, query: EntryQuery, position: str) -> str:
        """Return a token that continues after this position."""
        return self._codec.encode(_scope(query), [position])

    def decode(self, query: EntryQuery, token: str) -> str:
        """Return the position; raises a 400 for a token of another list."""
        (position,) = self._codec.decode(_scope(query), token, parts=1)
        return str(position)


class LedgerApi:
    """Handlers of the API that read; `routes` binds them to their paths."""

    def __init__(
        self,
        *,
        deps: queries.Deps,
        access: Access,
        tokens: PageTokens,
        site_key: Callable[[int], bytes],
        now_us: Callable[[], int],
        openapi: Path,
    ) -> None:
        self._deps = deps
        self._access = access
        self._tokens = tokens
        self._site_key = site_key
        self._now_us = now_us
        self._openapi = openapi
        self._scans = Scans()
        self.page_limits = PageLimits("the ledger API", access.authenticator.recent_clients)

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            openapi_route("/ledger/openapi.yaml", self._openapi),
            web.get(BASE + "/users/{userId}/orders", self.user_orders),
            web.get(BASE + "/orders/{orderId}", self.order),
            web.get(BASE + "/reports/sales", self.sales),
            web.get(BASE + "/exports/orders", self.export),
        ]

    async def user_orders(self, request: web.Request) -> web.Response:
        """A user's orders, newest first."""
        caller = await self._access.authorize(request, READ)
        site = caller.site
        user_id = request.match_info["userId"]
        rows = params.parse_rows(request.query)
        query = replace(self._parse_entries(request, site), user_id=user_id)
        page_token = page_token_from_query(request.query)
        if page_token is not None:
            query = replace(query, after=self._tokens.decode(query, page_token))
        client_id = caller.token.client_id
        async with self.page_limits.rendering(client_id) as rendering:
            # No record has such a user id.
            page, following = ([], None) if has_lone_surrogate(user_id) else await self._read_page(query, rows)
            token = None if following is None else self._tokens.encode(query, following)
            members: dict[str, object] = {}
            headers = dict(PRIVATE)
            if params.is_paged(request.query) or token is not None:
                members["pagination"] = pagination(rows, len(page), token)
                headers |= next_link(request, token)
            members["result"] = page
            body = responses.encode(members)
            rendering.set_size(len(body))
        return self.page_limits.response(client_id, body, headers=headers, **_JSON)

    async def _read_page(self, query: EntryQuery, rows: int) -> tuple[list[Raw], str | None]:
        """Return entries as JSON and the position to continue after.

        They are read and rendered in portions, and end at about `MAX_PAGE_BYTES`: an entry may have hundreds of lines,
        and one client's page must neither need much memory nor hold up other requests.
        """
        page: list[Raw] = []
        size, portion = 0, FIRST_PORTION
        while True:
            found = await self._deps.entries.list_newest(query, rows=min(rows - len(page), portion))
            for number, each in enumerate(found.entries, start=1):
                members = await responses.render_entry(each.entry, each.key, self._site_key)
                page.append(Raw(responses.encode(members)))
                size += len(page[-1])
                if size >= MAX_PAGE_BYTES and number < len(found.entries):
                    return page, each.position
                if len(page[-1]) > MANY_BYTES:
                    await asyncio.sleep(0)
            if found.following is None or len(page) >= rows or size >= MAX_PAGE_BYTES:
                return page, found.following
            query = replace(query, after=found.following)
            # A small entry may be one of an order with many lines in other channels.
            is_large = size > MANY_BYTES * len(page) or found.line_count > MANY_LINES * len(found.entries)
            portion = FIRST_PORTION if is_large else LATER_PORTIONS

    async def order(self, request: web.Request) -> web.Response:
        """The entries with an order id: one for each channel that has it."""
        caller = await self._access.authorize(request, READ)
        site, client_id = caller.site, caller.token.client_id
        channel = params.parse_channel(request.query)
        order_id = request.match_info["orderId"]
        if has_lone_surrogate(order_id):
            raise responses.order_not_found()
        key = GroupKey(site.site, order_id)
        # An order may have thousands of lines.
        async with self.page_limits.rendering(client_id) as rendering:
            found = await self._deps.entries.find_order(key)
            await asyncio.sleep(0)
            entries = [entry for entry in found if channel is UNSET or entry.channel == channel]
            if not entries:
                raise responses.order_not_found()
            members = [await responses.render_entry(each, key, self._site_key) for each in entries]
            body = responses.encode({"result": members})
            rendering.set_size(len(body))
        return self.page_limits.response(client_id, body, headers=PRIVATE, **_JSON)

    async def sales(self, request: web.Request) -> web.Response:
        """Sums of sales."""
        caller = await self._access.authorize(request, READ)
        site = caller.site
        zone = params.parse_zone(request.query)
        query = params.parse_report(
            request.query,
            report_currency=site.report_currency,
            today=lambda: day_of(self._now_us(), load_time_zone(zone or site.time_zone)),
        )
        media_type = params.parse_media_type(request, (params.JSON, params.CSV, params.XLSX))
        client_id = caller.token.client_id
        if zone is None:
            async with self.page_limits.rendering(client_id):
                report = await self._read_report(site, query)
                body = await _render_report(report, media_type)
        else:
            with self._scans.begin(client_id):
                # All entries are read, which takes long: pages are rendered meanwhile.
                report = await self._read_report(site, query, zone)
                async with self.page_limits.rendering(client_id):
                    body = await _render_report(report, media_type)
        headers = {**PRIVATE, "Vary": "Accept"}
        if media_type != params.JSON:
            name = f"sales.{'csv' if media_type == params.CSV else 'xlsx'}"
            headers |= responses.as_of_headers(report) | {"Content-Disposition": f'attachment; filename="{name}"'}
        charset = None if media_type == params.XLSX else "utf-8"
        return self.page_limits.response(client_id, body, headers=headers, content_type=media_type, charset=charset)

    async def _read_report(self, site: Site, query: ReportQuery, zone: str | None = None) -> queries.Report:
        try:
            return await queries.get_report(site.site, query, self._deps, zone=zone)
        except ReportTooLargeError:
            detail = f"the report has more than {MAX_REPORT_ROWS} rows; ask for fewer days, or without a dimension"
            raise Problem(400, "REPORT_TOO_LARGE", detail) from None

    async def export(self, request: web.Request) -> web.StreamResponse:
        """All orders that match, oldest first, as a stream."""
        caller = await self._access.authorize(request, READ)
        query = self._parse_entries(request, caller.site)
        client_id = caller.token.client_id
        with self._scans.begin(client_id):
            turn = partial(self.page_limits.turn, client_id)
            return await stream_orders(request, query, self._deps.entries, self._site_key, turn)

    @staticmethod
    def _parse_entries(request: web.Request, site: Site) -> EntryQuery:
        zone = load_time_zone(site.time_zone)
        return EntryQuery(
            site=site.site,
            from_us=parse_from_us(request.query, zone),
            to_us=parse_to_us(request.query, zone),
            filter=params.parse_filter(request.query),
        )


async def _render_report(report: queries.Report, media_type: str) -> bytes:
    """Return the report's body; a large one is rendered in a thread."""
    is_large = len(report.rows) > queries.ROWS_PER_TURN
    return await asyncio.to_thread(_render_rows, report, media_type) if is_large else _render_rows(report, media_type)


def _render_rows(report: queries.Report, media_type: str) -> bytes:
    if media_type == params.JSON:
        return responses.encode(responses.report_members(report))
    columns = responses.report_columns(report)
    writer_type: type[CsvWriter | XlsxWriter] = CsvWriter if media_type == params.CSV else XlsxWriter
    writer: TableWriter = writer_type(columns, numeric=responses.numeric_columns(columns))
    return writer.begin() + writer.rows(responses.report_rows(report)) + writer.end()


def _scope(query: EntryQuery) -> TokenScope:
    wanted = query.filter
    has_channel = wanted.channel is not UNSET
    channel = wanted.channel if isinstance(wanted.channel, str) else None
    return [query.site, query.user_id, query.from_us, query.to_us, has_channel, channel, wanted.mode, wanted.currency]
