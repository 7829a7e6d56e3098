"""The units of a transaction, each with a place of its own that holds one code, or the reason why none comes.

A slot's key sorts by transaction, line and unit. Keys are formatted, so every unit has its place and its stock id
before anything is stored of it.
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum

from msgspec import Struct

from services.fulfilment.domain.ids import derive_id

# After ':' in ASCII: the end of all keys that begin with the same words.
_AFTER = ";"


class UnitStatus(StrEnum):
    """What has become of one unit."""

    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    OUT_OF_STOCK = "OUT_OF_STOCK"


class FilledSlot(Struct, frozen=True):
    """A slot that is filled for good: by a code, or by a reason."""

    slot: str
    status: UnitStatus
    reason: str | None = None


def slot_key(transaction_id: str, line: int, unit: int) -> str:
    """The key of this unit's place."""
    return f"{transaction_id}:{line:03d}:{unit:04d}"


def slot_keys(transaction_id: str, line: int, quantity: int) -> Iterator[str]:
    """The keys of a line's units, in order."""
    prefix = f"{transaction_id}:{line:03d}:"
    return (f"{prefix}{unit:04d}" for unit in range(quantity))


def line_number(slot: str) -> int:
    """Which line the unit belongs to."""
    return int(slot.split(":")[1])


def stock_id(slot: str) -> str:
    """The unit's name for the outside."""
    return derive_id("unit", slot)


def slot_range(transaction_id: str, line: int | None = None) -> tuple[str, str]:
    """From which key on, and before which, all slots of a transaction or of one of its lines lie."""
    prefix = transaction_id if line is None else f"{transaction_id}:{line:03d}"
    return f"{prefix}:", f"{prefix}{_AFTER}"


def unfilled(wanted: Iterable[str], filled: Iterable[FilledSlot]) -> list[str]:
    """Those of the slots that nothing has filled yet."""
    gone = {one.slot for one in filled}
    return [slot for slot in wanted if slot not in gone]
