"""Responses: entries and reports as JSON values and as flat rows. Money is a decimal text."""

import asyncio
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from services.chassis.runtime.errors import Problem
from services.ledger.domain.entries import Entry, GroupKey, return_value
from services.ledger.domain.money import format_amount, to_micros
from services.ledger.domain.versions import ShownVersion, shown_versions
from services.ledger.flows.queries import Report
from services.sales.records import Order, OrderLine, Return, ReturnLine
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US, format_local, format_utc

SiteKey = Callable[[int], bytes]
Row = Sequence[str | int | None]

encode = msgspec.json.Encoder().encode

SUMS = ("orders", "units", "gross", "coupons", "returnedUnits", "returned", "net")
ORDER_COLUMNS = (
    "orderId",
    "channel",
    "userId",
    "dateTime",
    "state",
    "currency",
    "gross",
    "coupons",
    "returned",
    "net",
    "mode",
    "storeId",
    "units",
    "returns",
    "flags",
    "jobId",
    "cursor",
)


# Lines that are rendered between two turns of the event loop; it takes a fraction of a millisecond.
LINES_PER_TURN = 250
_FIRST_US, _LAST_US = MIN_INSTANT_US, MAX_INSTANT_US
_MEMBERS = (
    ("channel", "channel"),
    ("user_id", "userId"),
    ("mode", "mode"),
    ("payment_method", "paymentMethod"),
    ("payment_kind", "paymentKind"),
    ("email_hash", "emailHash"),
    ("cc_hash", "ccHash"),
    ("store_id", "storeId"),
    ("region_id", "regionId"),
    ("segment_ids", "segmentIds"),
    ("segment_names", "segmentNames"),
    ("currency", "currency"),
)


async def render_entry(entry: Entry, key: GroupKey, site_key: SiteKey) -> dict[str, Any]:
    """Return what `entry_members` returns. Other tasks run meanwhile: an order may have thousands of lines."""
    members = entry_members(entry, key, site_key, lines=())
    rendered: list[tuple[dict[str, Any], Order | Return]] = list(zip(members["returns"], entry.returns, strict=True))
    if entry.order is not None:
        rendered.append((members["order"], entry.order.order))
    since_turn = 0
    for record_members, record in rendered:
        for start in range(0, len(record.line_items), LINES_PER_TURN):
            portion = record.line_items[start : start + LINES_PER_TURN]
            record_members["lineItems"] += map(_line_members, portion)
            since_turn += len(portion)
            if since_turn >= LINES_PER_TURN:
                since_turn = 0
                await asyncio.sleep(0)
    return members


def entry_members(
    entry: Entry, key: GroupKey, site_key: SiteKey, *, lines: Sequence[OrderLine] | None = None
) -> dict[str, Any]:
    """Return an entry as JSON shows it; its records with these `lines` instead of their own, if any are given."""
    versioned = entry.order
    versions = [] if versioned is None else shown_versions(versioned, site_key(key.site))
    return {
        "orderId": key.order_id,
        "channel": entry.channel,
        "userId": entry.user_id,
        "state": entry.state,
        "currency": entry.currency,
        "gross": format_amount(entry.gross),
        "returned": format_amount(entry.returned),
        "net": format_amount(entry.net),
        "order": None if versioned is None else _record_members(versioned.order, lines),
        "returns": [
            _record_members(each, lines) | {"value": format_amount(return_value(each))} for each in entry.returns
        ],
        "versions": list(map(_version_members, versions)),
        "flags": entry.flags,
    }


def _record_members(record: Order | Return, lines: Sequence[OrderLine] | None) -> dict[str, Any]:
    """Return a record's members, absent fields left out."""
    # The writer of `sales` would take several times as long.
    members: dict[str, Any]
    if isinstance(record, Order):
        members = {"id": record.id}
    else:
        members = {"orderId": record.order_id, "returnId": record.return_id}
    for attribute, name in _MEMBERS:
        value = getattr(record, attribute)
        if value is not None and value != []:
            members[name] = value
    members["dateTime"] = _local_text(record.date_time, record.utc_offset_minutes)
    members["acceptedAt"] = format_utc(record.accepted_at, digits=6)
    if isinstance(record, Order):
        if record.coupon_code is not None:
            members["couponCode"] = record.coupon_code
        if record.coupon_value is not None:
            members["couponValue"] = format_amount(to_micros(record.coupon_value))
    elif record.return_value is not None:
        members["returnValue"] = format_amount(to_micros(record.return_value))
    members["lineItems"] = list(map(_line_members, record.line_items if lines is None else lines))
    if record.job is not None:
        members["jobId"], members["index"] = record.job.job_id, record.job.index
    return members


def _line_members(line: OrderLine) -> dict[str, Any]:
    members = {
        "productId": line.product_id,
        "quantity": line.quantity,
        "unitPrice": format_amount(to_micros(line.unit_price)),
    }
    if line.sku_id is not None:
        members["skuId"] = line.sku_id
    if isinstance(line, ReturnLine) and line.credit_type is not None:
        members["creditType"] = line.credit_type
    return members


def _local_text(us: int, offset_minutes: int) -> str:
    """Format an instant in its stated offset."""
    local_us = us + offset_minutes * 60_000_000
    if offset_minutes and not _FIRST_US <= local_us <= _LAST_US:
        return format_local(us, offset_minutes=offset_minutes)
    text = format_utc(local_us, digits=6).rstrip("Z")
    return text.removesuffix(".000000") + _offset_text(offset_minutes)


@lru_cache(maxsize=512)
def _offset_text(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _version_members(version: ShownVersion) -> dict[str, Any]:
    rank = version.rank
    has_job = rank.job_index >= 0
    return {
        "at": format_utc(rank.accepted_at, digits=6),
        "jobId": rank.job_id if has_job else None,
        "index": rank.job_index if has_job else None,
        "changed": version.changed,
    }


def order_row(entry: Entry, key: GroupKey, cursor: str) -> Row:
    """Return an entry as a row of an export."""
    order = None if entry.order is None else entry.order.order
    latest = order if order is not None else entry.returns[-1]
    return (
        key.order_id,
        entry.channel,
        entry.user_id,
        _local_text(latest.date_time, latest.utc_offset_minutes),
        entry.state,
        entry.currency,
        format_amount(entry.gross),
        format_amount(entry.coupons),
        format_amount(entry.returned),
        format_amount(entry.net),
        entry.mode,
        latest.store_id,
        0 if order is None else sum([line.quantity for line in order.line_items]),
        len(entry.returns),
        " ".join(entry.flags),
        None if latest.job is None else latest.job.job_id,
        cursor,
    )


def report_members(report: Report) -> dict[str, Any]:
    """Return a report as JSON shows it."""
    columns = report_columns(report)
    return {
        "asOf": format_utc(report.as_of_us, digits=6),
        "zone": report.zone,
        "reportCurrency": report.query.report_currency,
        "definitions": "/ledger/openapi.yaml",
        "result": [dict(zip(columns, row, strict=True)) for row in report_rows(report)],
    }


def report_columns(report: Report) -> Sequence[str]:
    """Return the names of the columns of `report_rows`."""
    return (*report.query.by, *_sum_columns(report.query.by))


def report_rows(report: Report) -> list[Row]:
    """Return the rows of a report: the dimensions, the currency unless it is one of them, the sums."""
    has_currency = "currency" in report.query.by
    return [
        (
            *row.values,
            *(() if has_currency else (row.currency,)),
            row.amounts.orders,
            row.amounts.units,
            format_amount(row.amounts.gross),
            format_amount(row.amounts.coupons),
            row.amounts.returned_units,
            format_amount(row.amounts.returned),
            format_amount(row.amounts.net),
        )
        for row in report.rows
    ]


def _sum_columns(by: Sequence[str]) -> Sequence[str]:
    return SUMS if "currency" in by else ("currency", *SUMS)


def numeric_columns(columns: Sequence[str]) -> frozenset[int]:
    """Return the positions of the columns that hold numbers."""
    numeric = {*SUMS, "returns"}
    return frozenset(position for position, name in enumerate(columns) if name in numeric)


def order_not_found() -> Problem:
    """404 for an order id that is unknown, or another site's: they cannot be told apart."""
    return Problem(404, "ORDER_NOT_FOUND", "there is no such order")


def as_of_headers(report: Report) -> dict[str, str]:
    """Headers of a report in a format that has no room for them."""
    return {
        "X-As-Of": format_utc(report.as_of_us, digits=6),
        "X-Time-Zone": report.zone,
        "X-Report-Currency": report.query.report_currency,
        "Link": '</ledger/openapi.yaml>; rel="describedby"',
    }
