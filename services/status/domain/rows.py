"""Rows: who the records of a run are. They are stored as they came and looked into only when someone reads them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar

import msgspec
from msgspec import Struct

RETURNS = "returns"


class OrderRow(Struct, frozen=True, array_like=True, gc=False):
    """An order's ids, as far as they are known, and its mode where it is not the job's."""

    order_id: str | None = None
    user_id: str | None = None
    mode: str | None = None
    return_id: ClassVar[str | None] = None


class ReturnRow(Struct, frozen=True, array_like=True, gc=False):
    """Likewise of a return."""

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
    """The rows from one offset to another; empty if they cannot be read."""
    try:
        return _encode(_RAW_ROWS.decode(rows)[start:end]).decode() if rows else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""


def parse_rows(rows: str, count: int, *, job_type: str) -> list[RecordIds]:
    """One for each of `count` letters; `of` is the job's type."""
    read: Sequence[RecordIds | None] = ()
    if rows:
        with suppress(msgspec.MsgspecError, RecursionError):
            read = _RETURNS.decode(rows) if job_type == RETURNS else _ORDERS.decode(rows)
    known = [row or UNKNOWN_IDS for row in read[:count]]
    return [*known, *[UNKNOWN_IDS] * (count - len(known))]
