"""Rows of the topic of movements, read by another library than the one that wrote them."""

import io
from collections.abc import Iterable
from typing import Any

from fastavro import schemaless_reader

from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import LENGTH as FRAME
from services.chassis.runtime.settings import REPOSITORY
from services.ledger.domain.sums import Amounts, Cell, Sums, add_to, to_day

SCHEMA = Schemas.load(REPOSITORY / "schemas")["ledger_movement"]


def sums_of(rows: Iterable[bytes]) -> Sums:
    """Add up published rows, each once."""
    by_id: dict[str, Any] = {}
    for row in rows:
        values: Any = schemaless_reader(io.BytesIO(row[FRAME:]), SCHEMA.parsed, None)
        assert by_id.setdefault(values["id"], values) == values
    sums: Sums = {}
    for each in by_id.values():
        money = {name: int(each[name].scaleb(6)) for name in ("gross", "coupons", "returned")}
        cell = Cell(to_day(each["day"]), each["channel"], each["mode"], each["currency"], None)
        amounts = Amounts(
            each["orders"], each["units"], money["gross"], money["coupons"], each["returnedUnits"], money["returned"]
        )
        add_to(sums, {cell: amounts})
    return sums
