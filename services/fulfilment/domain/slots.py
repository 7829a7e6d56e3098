"""Slots: one per unit of a transaction, filled once, by a code or by the reason why no code comes.

A slot's key sorts by transaction, line and unit. It is formatted from these, so that every unit has its slot and its
stock id before anything of it is stored.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derive_id

# Follows ':' in ASCII: the exclusive upper bound of all keys with a common prefix.
_AFTER_COLON = ";"


class UnitStatus(StrEnum):
    """State of one unit."""

    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    OUT_OF_STOCK = "OUT_OF_STOCK"


class FilledSlot(Struct, frozen=True):
    """A slot that is filled for good, by a code or by a reason."""

    slot: str
    status: UnitStatus
    reason: str | None = None


def slot_keys(transaction_id: str, line: int, quantity: int) -> Iterator[str]:
    """Return the slots of a line's units, in order."""
    prefix = f"{transaction_id}:{line:03d}:"
    return (f"{prefix}{unit:04d}" for unit in range(quantity))


def line_number(slot: str) -> int:
    """Return the line of a slot's unit."""
    return int(slot.split(":")[1])


def stock_id(slot: str) -> str:
    """Return the public id of a slot's unit."""
    return derive_id("unit", slot)


def slot_range(transaction_id: str, line: int | None = None) -> tuple[str, str]:
    """Return the inclusive lower and exclusive upper bound of a transaction's slots, or of one line's."""
    prefix = transaction_id if line is None else f"{transaction_id}:{line:03d}"
    return f"{prefix}:", f"{prefix}{_AFTER_COLON}"


def unfilled(slots: Iterable[str], filled: Iterable[FilledSlot]) -> list[str]:
    """Return the slots that are not among the filled ones."""
    filled_keys = {filled_slot.slot for filled_slot in filled}
    return [slot for slot in slots if slot not in filled_keys]
