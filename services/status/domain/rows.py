"""Rows: the ids of a run's records. They are stored as they came and parsed only when they are shown."""

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec
from msgspec import Struct

RETURNS = "returns"


class OrderRow(Struct, frozen=True, array_like=True, gc=False):
    """The known ids of an order, and its mode where it differs from the job's."""

    order_id: str | None = None
    user_id: str | None = None
    mode: str | None = None
    return_id: ClassVar[str | None] = None


class ReturnRow(Struct, frozen=True, array_like=True, gc=False):
    """The known ids of a return, and its mode where it differs from the job's."""

    order_id: str | None = None
    return_id: str | None = None
    user_id: str | None = None
    mode: str | None = None


RecordIds = OrderRow | ReturnRow
UNKNOWN_IDS = OrderRow()

_RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_ORDERS = msgspec.json.Decoder(list[OrderRow | None])
_RETURNS = msgspec.json.Decoder(list[ReturnRow | None])
_encode = msgspec.json.Encoder().encode


def slice_rows(rows: str, start: int, end: int) -> str:
    """The rows from `start` to `end`; empty if they cannot be parsed."""
    try:
        return _encode(_RAW_ROWS.decode(rows)[start:end]).decode() if rows else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""


def parse_rows(rows: str, count: int, *, job_type: str) -> list[RecordIds]:
    """Parse the ids of `count` records; unknown ones where rows are missing or invalid."""
    parsed: Sequence[RecordIds | None] = ()
    if rows:
        with suppress(msgspec.MsgspecError, RecursionError):
            parsed = _RETURNS.decode(rows) if job_type == RETURNS else _ORDERS.decode(rows)
    known = [row or UNKNOWN_IDS for row in parsed[:count]]
    return [*known, *[UNKNOWN_IDS] * (count - len(known))]
