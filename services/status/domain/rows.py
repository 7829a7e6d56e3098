"""Rows: who the records of a run are. They are stored as they came and looked into only when someone reads them."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

RETURNS = "returns"

_RAW_ROWS = msgspec.json.Decoder(list[msgspec.Raw])
_ROWS = msgspec.json.Decoder(list[list[str | None] | None])
_encode = msgspec.json.Encoder().encode


class Who(NamedTuple):
    """A record's ids, as far as they are known, and its mode where it is not the job's."""

    order_id: str | None = None
    return_id: str | None = None
    user_id: str | None = None
    mode: str | None = None


UNKNOWN = Who()


def cut_rows(rows: str, start: int, end: int) -> str:
    """The rows from one offset to another; empty if they cannot be read."""
    try:
        return _encode(_RAW_ROWS.decode(rows)[start:end]).decode() if rows else ""
    except (msgspec.MsgspecError, RecursionError):
        return ""


def read_rows(rows: str, count: int, *, of: str) -> list[Who]:
    """One for each of `count` letters; `of` is the job's type."""
    try:
        read = _ROWS.decode(rows) if rows else []
    except (msgspec.MsgspecError, RecursionError):
        read = []
    known = [_return(row) if of == RETURNS else _order(row) for row in read[:count]]
    return [*known, *[UNKNOWN] * (count - len(known))]


def _order(row: Sequence[str | None] | None) -> Who:
    if not row:
        return UNKNOWN
    return Who(row[0], None, row[1] if len(row) > 1 else None, row[2] if len(row) > 2 else None)


def _return(row: Sequence[str | None] | None) -> Who:
    if not row:
        return UNKNOWN
    order_id, return_id, user_id, mode, *_ = [*row, None, None, None, None]
    return Who(order_id, return_id, user_id, mode)
