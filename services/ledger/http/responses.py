"""Responses: entries and reports as JSON values and as flat rows. Money is a decimal text."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from services.chassis.runtime.errors import Problem
from services.ledger.domain.entries import Entry, GroupKey, return_value
from services.ledger.domain.money import format_amount
from services.ledger.domain.versions import ShownVersion, shown_versions
from services.ledger.flows.queries import Report
from services.sales.json_writer import to_members
from services.sales.records import Order, Return
from services.values.instants import format_local, format_utc

SiteKey = Callable[[int], bytes]
Row = Sequence[str | int | None]

encode = msgspec.json.Encoder(decimal_format="string").encode

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


def entry_members(entry: Entry, key: GroupKey, site_key: SiteKey) -> dict[str, Any]:
    """Return an entry as JSON shows it."""
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
        "order": None if versioned is None else _record_members(versioned.order),
        "returns": [_record_members(each) | {"value": format_amount(return_value(each))} for each in entry.returns],
        "versions": list(map(_version_members, versions)),
        "flags": entry.flags,
    }


def _record_members(record: Order | Return) -> dict[str, Any]:
    members = to_members(record)
    if record.job is not None:
        members["jobId"], members["index"] = record.job.job_id, record.job.index
    return members


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
        format_local(latest.date_time, offset_minutes=latest.utc_offset_minutes),
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
    by = report.query.by
    return {
        "asOf": format_utc(report.as_of_us, digits=6),
        "zone": report.zone,
        "reportCurrency": report.query.report_currency,
        "definitions": "/ledger/openapi.yaml",
        "result": [dict(zip((*by, *_sum_columns(by)), row, strict=True)) for row in report_rows(report)],
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
