"""Rows of the topic of movements."""

from collections.abc import Iterator
from itertools import count

from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schemas
from services.ledger.domain.movement import Movement
from services.ledger.domain.sums import Amounts, Cell, without_store
from services.sales.wire import build_key

SCHEMA = "ledger_movement"


class MovementEncoder:
    """Encodes the published rows of movements."""

    def __init__(self, schemas: Schemas) -> None:
        self._schema = schemas[SCHEMA]

    def encode(self, movement: Movement) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and value of each row, always the same for the same movement."""
        numbers = count()
        for part in movement.parts:
            if not part.is_published:
                continue
            for cell, amounts in without_store(part.sums).items():
                row = self._row(part.site, cell, amounts) | {
                    "id": f"{movement.id}.{next(numbers)}",
                    "at": movement.at_us,
                }
                yield build_key(part.site, cell.channel), encode_record(row, self._schema)

    def _row(self, site: int, cell: Cell, amounts: Amounts) -> dict[str, object]:
        return {
            "site": site,
            "day": cell.day,
            "channel": cell.channel,
            "mode": cell.mode,
            "currency": cell.currency,
            "orders": amounts.orders,
            "units": amounts.units,
            "gross": _to_bytes(amounts.gross),
            "coupons": _to_bytes(amounts.coupons),
            "returnedUnits": amounts.returned_units,
            "returned": _to_bytes(amounts.returned),
        }


def _to_bytes(micros: int) -> bytes:
    return micros.to_bytes((micros.bit_length() + 8) // 8, "big", signed=True)
