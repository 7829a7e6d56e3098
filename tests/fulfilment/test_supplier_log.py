"""What the log says of suppliers that are of no use: enough to know them by, and not a line for each look."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.flows import deliver_codes, supplier_log
from services.fulfilment.flows.supplier_log import SupplierLog
from tests.fulfilment.harness import Harness


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, message: str, **details: Any) -> None:
        self.lines.append((message, details))

    error = warning


class Silent:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def supply(self, demand: SupplyRequest) -> SupplyResult:
        self.asked.append(demand.sku)
        raise UnavailableError(f"the harness of {demand.sku}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Log:
    made = Log()
    monkeypatch.setattr(supplier_log, "_LOG", made)
    return made


async def looked_at(harness: Harness, transaction_ids: list[str], told: SupplierLog, *, times: int) -> None:
    """What readers and the sweeper do."""
    world = replace(harness.deliver_codes_deps, supplier_log=told, suppliers={"silent": Silent()})
    for _ in range(times):
        for transaction_id in transaction_ids:
            await deliver_codes.fulfil(transaction_id, world)


async def bought(harness: Harness, supplier: str, *, units: int = 1) -> str:
    sku = f"FROM-{supplier}"
    await harness.products.put(
        Product(sku=sku, name=sku, unit_price=Decimal(1), currency="USD", supplier=supplier),
    )
    return (await harness.place((sku, units))).transaction.id


@pytest.mark.parametrize(
    ("supplier", "message", "details"),
    [
        ("silent", "supplier unavailable", {"dependency": "the harness of FROM-silent"}),
        ("nobody", "no such supplier", {}),
    ],
)
async def test_it_is_told_once_a_minute_whoever_looks(
    memory_harness: Harness, log: Log, supplier: str, message: str, details: dict[str, str]
) -> None:
    told = SupplierLog(memory_harness.clock)
    ids = [await bought(memory_harness, supplier) for _ in range(3)]
    await looked_at(memory_harness, ids, told, times=5)
    about = {"supplier": supplier, "sku": f"FROM-{supplier}", "transactionId": ids[0]}
    assert log.lines == [(message, about | details)]
    memory_harness.clock.advance(seconds=59)
    await looked_at(memory_harness, ids, told, times=1)
    assert len(log.lines) == 1
    memory_harness.clock.advance(seconds=1)
    await looked_at(memory_harness, ids, told, times=1)
    assert len(log.lines) == 2
    # A clock that is put back does not keep it quiet for hours.
    memory_harness.clock.advance(hours=-3)
    await looked_at(memory_harness, ids, told, times=2)
    assert len(log.lines) == 3


async def test_one_that_does_not_answer_is_asked_once_for_an_order_and_the_others_deliver(
    memory_harness: Harness,
) -> None:
    """Each time in vain may take seconds, and an order may have a hundred lines."""
    silent = Silent()
    world = memory_harness.deliver_codes_deps
    world = replace(world, suppliers={**world.suppliers, "stock": silent})
    transaction = (await memory_harness.place(("CARD", 1), ("PENNY", 2), ("DEMO-INSTANT", 3))).transaction
    done = await deliver_codes.fulfil(transaction.id, world)
    assert silent.asked == ["CARD"]
    assert done is not None
    assert (done.status, [line.delivered for line in done.lines]) == (TransactionStatus.PROCESSING, [0, 0, 3])


async def test_each_supplier_is_told_of(memory_harness: Harness, log: Log) -> None:
    ids = [await bought(memory_harness, supplier) for supplier in ("silent", "nobody", "noone")]
    await looked_at(memory_harness, ids, SupplierLog(memory_harness.clock), times=2)
    assert [(message, details["supplier"]) for message, details in log.lines] == [
        ("supplier unavailable", "silent"),
        ("no such supplier", "nobody"),
        ("no such supplier", "noone"),
    ]
