"""Parameters from a request's query; an invalid one is a 400."""

from collections.abc import Callable, Collection
from datetime import date
from functools import cache
from zoneinfo import available_timezones

from aiohttp import web
from msgspec import UNSET, UnsetType
from multidict import MultiMapping

from services.chassis.http import paging
from services.chassis.http.negotiation import negotiate
from services.chassis.http.time_range import parse_day
from services.chassis.runtime.errors import Problem
from services.ledger.domain.report import DEFAULT_DIMENSIONS, DIMENSIONS, Filter, ReportQuery
from services.ledger.domain.sums import to_day
from services.sales.records import MODES
from services.values.identifiers import has_lone_surrogate

Query = MultiMapping[str]

DEFAULT_ROWS, MAX_ROWS = 50, 1_000
DEFAULT_DAYS, MAX_DAYS = 30, 3_660
JSON, NDJSON, CSV = "application/json", "application/x-ndjson", "text/csv"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORMATS = {"json": JSON, "ndjson": NDJSON, "csv": CSV, "xlsx": XLSX}


def parse_rows(query: Query) -> int:
    """The maximum number of entries on a page."""
    return paging.rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def is_paged(query: Query) -> bool:
    """Whether the request has any paging parameter."""
    return any(name in query for name in ("rows", *paging.PAGE_PARAMETERS))


def parse_filter(query: Query) -> Filter:
    """Which sales are wanted."""
    mode = query.get("mode")
    mode = None if mode is None else mode.lower()
    if mode is not None and mode not in MODES:
        raise Problem(400, "INVALID_MODE", f"mode is one of {', '.join(MODES)}")
    currency = query.get("currency")
    currency = None if currency is None else currency.upper()
    if currency is not None and not _is_currency(currency):
        raise Problem(400, "INVALID_CURRENCY", "currency is an ISO 4217 code")
    return Filter(channel=parse_channel(query), mode=mode, currency=currency)


def parse_channel(query: Query) -> str | UnsetType | None:
    """The channel; None, for sales without one, if the parameter is empty."""
    channel = query.get("channel")
    if channel is not None and has_lone_surrogate(channel):
        raise Problem(400, "INVALID_CHANNEL", "channel is not valid UTF-8")
    return UNSET if channel is None else channel or None


def parse_dimensions(query: Query) -> tuple[str, ...]:
    """What a report is broken down by."""
    text = query.get("by")
    if text is None:
        return DEFAULT_DIMENSIONS
    names = tuple(name.strip() for name in text.split(","))
    if not set(names) <= set(DIMENSIONS) or len(set(names)) != len(names):
        raise Problem(400, "INVALID_BY", f"by is a list of {', '.join(DIMENSIONS)}, each at most once")
    return names


def parse_zone(query: Query) -> str | None:
    """The time zone of a report's days."""
    zone = query.get("zone")
    if zone is not None and zone not in _known_zones():
        raise Problem(400, "INVALID_ZONE", "zone is a name of the IANA database, such as Europe/Paris")
    return zone


def parse_report(query: Query, *, report_currency: str, today: Callable[[], int]) -> ReportQuery:
    """What a report shows; without dates, the last 30 days."""
    last = _parse_report_day(query, "to")
    first = _parse_report_day(query, "from")
    if last is None:
        last = today() if first is None else max(first, today())
    if first is None:
        first = last - DEFAULT_DAYS + 1
    if not 0 <= last - first < MAX_DAYS:
        raise Problem(400, "INVALID_RANGE", f"from must not be after to, and a report has at most {MAX_DAYS} days")
    return ReportQuery(
        first=first,
        last=last,
        by=parse_dimensions(query),
        filter=parse_filter(query),
        report_currency=report_currency,
    )


def parse_media_type(request: web.Request, offered: Collection[str]) -> str:
    """The media type of the response: that of `format`, or else the preferred one of the `Accept` header."""
    wanted = request.query.get("format")
    if wanted is None:
        found = negotiate(request, tuple(offered))
        if found is None:
            raise Problem(406, "NOT_ACCEPTABLE", f"this is available as {', '.join(offered)}")
        return found
    media_type = FORMATS.get(wanted.lower())
    if media_type is None or media_type not in offered:
        names = [name for name, each in FORMATS.items() if each in offered]
        raise Problem(400, "INVALID_FORMAT", f"format is one of {', '.join(names)}")
    return media_type


def _parse_report_day(query: Query, name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    day: date | None = parse_day(text)
    if day is None:
        raise Problem(400, "INVALID_DATE", f"{name} is a date in ISO 8601, such as 2026-01-31")
    return to_day(day)


def _is_currency(text: str) -> bool:
    return len(text) == 3 and text.isascii() and text.isalpha() and text.isupper()


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones())
