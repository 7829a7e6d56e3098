"""Requests to suppliers and their results."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct


class SupplyRequest(Struct, frozen=True, kw_only=True):
    """The unfilled slots of one line. `attempts` counts the requests before this one."""

    transaction_id: str
    sku: str
    slots: Sequence[str]
    created_us: int
    now_us: int
    attempts: int


class SupplyResult(Struct, frozen=True, kw_only=True):
    """`filled` counts the slots filled now; `cancelled` slots never get a code; the others may later.

    `retry_at_us` is when the supplier expects the next request; None leaves that to the caller.
    """

    filled: int = 0
    cancelled: Sequence[str] = ()
    reason: str | None = None
    retry_at_us: int | None = None


class Allocation(NamedTuple):
    """Number of available codes that were found, and of slots that they filled."""

    found: int
    filled: int
