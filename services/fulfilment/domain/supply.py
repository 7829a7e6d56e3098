"""What is asked of a supplier, and what comes of asking."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct


class SupplyRequest(Struct, frozen=True, kw_only=True):
    """One line's units that have no code yet. `tries` counts how often they have been asked for."""

    transaction_id: str
    sku: str
    slots: Sequence[str]
    created_us: int
    now_us: int
    attempts: int


class SupplyResult(Struct, frozen=True, kw_only=True):
    """What came of it: `filled` units have their codes now, those in `refused` never will, the others may later.

    `retry_at_us` is when asking again makes sense; None leaves that to whoever asks.
    """

    filled: int = 0
    cancelled: Sequence[str] = ()
    reason: str | None = None
    retry_at_us: int | None = None


class Allocation(NamedTuple):
    """How many codes were found on sale, and how many of them now fill one of the places."""

    found: int
    filled: int
