"""Example files: a header, a record of one line, and one of two lines."""

import csv
import io
from typing import Any

from tillstream.sources.columns import LINE_FIELDS, RECORD_FIELDS
from tillstream.xlsx import write_sheet

_SALE = {
    "userId": "customer-1",
    "dateTime": "2026-11-30T10:15:00+01:00",
    "channel": "web",
    "mode": "online",
    "paymentMethod": "Credit card",
    "storeId": "Store 12",
    "regionId": "-1",
    "segmentIds": "44,55",
    "currency": "EUR",
}
_RECORDS = {
    "orders": ({"id": "10001", **_SALE}, {"id": "10002", **_SALE, "couponCode": "RR01", "couponValue": "23.76"}),
    "returns": (
        {"orderId": "10001", "returnId": "R1", **_SALE, "returnValue": "100.25"},
        {"orderId": "10002", "returnId": "R2", **_SALE},
    ),
}
_LINES = (
    {"productId": "4556", "skuId": "sku1", "quantity": "1", "unitPrice": "256.678"},
    {"productId": "4557", "skuId": "sku2", "quantity": "2", "unitPrice": "9.99"},
)


def header(kind: str) -> list[str]:
    """Return all columns: first those of a record, then those of its lines."""
    return [*RECORD_FIELDS[kind], *LINE_FIELDS[kind]]


def rows(kind: str) -> list[list[str]]:
    """Return the example rows. The second line of a record names only its id, or repeats everything."""
    first, second = _RECORDS[kind]
    keys: dict[str, str] = {name: value for name, value in second.items() if name in ("id", "orderId", "returnId")}
    records: list[dict[str, Any]] = [first | _LINES[0], second | _LINES[0], keys | _LINES[1]]
    return [[record.get(name, "") for name in header(kind)] for record in records]


def to_csv(kind: str) -> bytes:
    """Return the example as CSV."""
    text = io.StringIO()
    csv.writer(text).writerows([header(kind), *rows(kind)])
    return text.getvalue().encode("utf-8-sig")


def to_xlsx(kind: str) -> bytes:
    """Return the example as a spreadsheet. Its cells are text, so that long ids keep all their digits."""
    buffer = io.BytesIO()
    with write_sheet(buffer, kind, columns=len(header(kind))) as sheet:
        for row in [header(kind), *rows(kind)]:
            sheet.write_row(row)
    return buffer.getvalue()
