"""Reports of sales: a chart, its table, and files of the same filter."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import cast
from urllib.parse import urlencode

from aiohttp import web
from msgspec.structs import replace

from services.chassis.runtime.time_zones import load_time_zone
from services.portal.domain.charts import bar_chart, columns_chart
from services.portal.domain.sales_report import (
    DEFAULT_PRESET,
    GROUPINGS,
    MODES,
    NO_CHANNEL,
    PRESETS,
    Period,
    SalesFilter,
    SalesView,
    describe_day,
    fit,
    preset_period,
)
from services.portal.flows import reports as flow
from services.portal.http.file_responses import file_headers, send_file
from services.portal.http.formats import is_currency
from services.portal.http.pages import Pages
from services.portal.http.visits import Visit

BASE, SCOPE = "/portal/reports", "sales:read"
# Of more groups, the rest is in the files.
MAX_SHOWN_ROWS = 400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In the query, a channel has this before its name: its name may be anything.
_CHANNEL_PREFIX = "="


class ReportPages:
    """The page of sales, and its files."""

    def __init__(self, pages: Pages, *, now_us: Callable[[], int]) -> None:
        self._pages = pages
        self._now_us = now_us

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(BASE, self.show, scope=SCOPE),
            self._pages.get(BASE + "/sales.{format:csv|xlsx}", self.download_sales, scope=SCOPE),
            self._pages.get(BASE + "/orders.{format:csv|ndjson|xlsx}", self.download_orders, scope=SCOPE),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """Sales by channel, day, month or mode."""
        chosen, notes = self._parse(visit)
        found = await flow.get_sales(visit.client, chosen)
        sales = found.sales
        query = _to_query(replace(chosen, currency=sales.currency))
        return self._pages.page(
            visit,
            "reports.html",
            chosen=chosen,
            notes=notes,
            report=found.report,
            sales=sales,
            rows=sales.rows[:MAX_SHOWN_ROWS],
            chart=_chart(sales, chosen),
            title=f"{describe_day(chosen.period.first)} – {describe_day(chosen.period.last)}",
            presets=self._presets(visit, chosen),
            currencies=[(each, _url(query | {"currency": each.currency})) for each in sales.currencies],
            row_urls=_row_urls(sales, query),
            file_query=urlencode(query),
            by=GROUPINGS[chosen.by],
            choices={
                "by": list(GROUPINGS.items()),
                "mode": list(MODES.items()),
                "channel": _channel_choices(found.channels, chosen.channel),
            },
            query=query,
        )

    async def download_sales(self, visit: Visit) -> web.StreamResponse:
        """The table as a file."""
        chosen, _ = self._parse(visit)
        format_ = visit.request.match_info["format"]
        body = await flow.get_sales_file(visit.client, chosen, format_=format_)
        return web.Response(body=body, headers=file_headers(f"sales-{_file_name(chosen)}.{format_}"))

    async def download_orders(self, visit: Visit) -> web.StreamResponse:
        """The orders of these days with all of their returns, as a stream."""
        chosen, _ = self._parse(visit)
        format_ = visit.request.match_info["format"]
        pieces = visit.client.ledger.stream_export(
            since=chosen.period.first,
            until=chosen.period.last,
            format=format_,
            currency=chosen.currency,
            channel=chosen.channel,
            mode=chosen.mode,
        )
        name = f"orders-{_file_name(chosen)}.{format_}"
        return await send_file(visit, name, cast("AsyncGenerator[bytes]", pieces))

    def _today(self, visit: Visit) -> date:
        now = _EPOCH + timedelta(microseconds=self._now_us())
        return now.astimezone(load_time_zone(visit.session.grant.time_zone)).date()

    def _parse(self, visit: Visit) -> tuple[SalesFilter, Sequence[str]]:
        return parse_filter(visit.query, self._today(visit))

    def _presets(self, visit: Visit, chosen: SalesFilter) -> Sequence[tuple[str, str, bool]]:
        today = self._today(visit)
        query = {name: value for name, value in _to_query(chosen).items() if name not in ("from", "to")}
        # On some days, two presets are the same.
        fitting = [name for name in PRESETS if preset_period(name, today) == chosen.period]
        named = visit.query.get("range", DEFAULT_PRESET)
        current = named if named in fitting else next(iter(fitting), None)
        return [(text, _url(query | {"range": name}), name == current) for name, text in PRESETS.items()]


def parse_filter(query: Mapping[str, str], today: date) -> tuple[SalesFilter, Sequence[str]]:
    """Return the filter that a query asks for, and what could not be understood: that is left out."""
    problems: list[str] = []

    def parse_day(name: str, label: str) -> date | None:
        try:
            return date.fromisoformat(query[name]) if query.get(name) else None
        except ValueError:
            problems.append(f"{label} must be a day like 2026-11-30; it is ignored.")
            return None

    first, last = parse_day("from", "The first day"), parse_day("to", "The last day")
    period = preset_period(query.get("range") or DEFAULT_PRESET, today)
    if first is not None or last is not None:
        last = last or max(today, first or today)
        period = Period(first or last.replace(day=1), last)
    by = query.get("by") or "channel"
    if by not in GROUPINGS:
        problems.append("The grouping was not understood: sales are shown by channel.")
        by = "channel"
    mode = next((name for name in MODES if name == query.get("mode")), None)
    if query.get("mode") and mode is None:
        problems.append("The mode was not understood, and is ignored.")
    channel = query.get("channel", "")
    currency = query.get("currency") or None
    if currency is not None and not is_currency(currency):
        problems.append("The currency was not understood, and is ignored.")
        currency = None
    chosen = SalesFilter(
        period=period,
        by=by,
        channel=channel.removeprefix(_CHANNEL_PREFIX) if channel.startswith(_CHANNEL_PREFIX) else None,
        mode=mode,
        currency=currency,
    )
    fitted, notes = fit(chosen)
    return fitted, [*problems, *notes]


def _to_query(chosen: SalesFilter) -> dict[str, str]:
    values = {
        "from": chosen.period.first.isoformat(),
        "to": chosen.period.last.isoformat(),
        "by": chosen.by,
        "channel": None if chosen.channel is None else _CHANNEL_PREFIX + chosen.channel,
        "mode": chosen.mode,
        "currency": chosen.currency,
    }
    return {name: value for name, value in values.items() if value is not None}


def _url(query: Mapping[str, str]) -> str:
    return f"{BASE}?{urlencode(query)}"


def _chart(sales: SalesView, chosen: SalesFilter) -> Mapping[str, object]:
    points = [(row.short_label, float(row.net)) for row in sales.rows]
    if chosen.by in ("day", "month"):
        return {"kind": "columns", "chart": columns_chart(points)}
    return {"kind": "bars", "chart": bar_chart(points)}


def _row_urls(sales: SalesView, query: Mapping[str, str]) -> Sequence[str | None]:
    """Return where a channel's days are."""
    return [
        None if row.channel is None else _url({**query, "by": "day", "channel": _CHANNEL_PREFIX + row.channel})
        for row in sales.rows
    ]


def _channel_choices(channels: Sequence[str], chosen: str | None) -> Sequence[tuple[str, str]]:
    # The chosen one stays in the list, though it may have no sales on these days.
    names = sorted({*channels[:MAX_SHOWN_ROWS], *([] if chosen is None else [chosen])})
    return [(_CHANNEL_PREFIX + name, name or NO_CHANNEL) for name in names]


def _file_name(chosen: SalesFilter) -> str:
    return f"{chosen.period.first.isoformat()}-to-{chosen.period.last.isoformat()}"
