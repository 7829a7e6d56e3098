"""Failing suppliers are logged with what identifies them, and not at each attempt."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.fulfilment.domain.product import Product
from services.fulfilment.domain.supply import SupplyRequest, SupplyResult
from services.fulfilment.domain.transaction import TransactionStatus
from services.fulfilment.flows import fulfil, supplier_log
from services.fulfilment.flows.supplier_log import SupplierLog
from tests.fulfilment.harness import Harness


class FakeLogger:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def warning(self, message: str, **details: Any) -> None:
        self.lines.append((message, details))

    error = warning


class UnavailableSupplier:
    def __init__(self) -> None:
        self.requested_skus: list[str] = []

    async def supply(self, request: SupplyRequest) -> SupplyResult:
        self.requested_skus.append(request.sku)
        raise UnavailableError(f"the shop of {request.sku}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> FakeLogger:
    logger = FakeLogger()
    monkeypatch.setattr(supplier_log, "_LOG", logger)
    return logger


async def fulfil_repeatedly(
    harness: Harness, transaction_ids: list[str], shared_log: SupplierLog, *, times: int
) -> None:
    """As readers and the sweeper do."""
    deps = replace(harness.fulfil_deps, supplier_log=shared_log, suppliers={"silent": UnavailableSupplier()})
    for _ in range(times):
        for transaction_id in transaction_ids:
            await fulfil.fulfil(transaction_id, deps)


async def place_order(harness: Harness, supplier: str, *, units: int = 1) -> str:
    sku = f"FROM-{supplier}"
    await harness.products.put(
        Product(sku=sku, name=sku, unit_price=Decimal(1), currency="USD", supplier=supplier),
    )
    return (await harness.place((sku, units))).transaction.id


@pytest.mark.parametrize(
    ("supplier", "message", "details"),
    [
        ("silent", "supplier unavailable", {"dependency": "the shop of FROM-silent"}),
        ("nobody", "no such supplier", {}),
    ],
)
async def test_it_is_logged_once_a_minute_however_many_look(
    memory_harness: Harness, log: FakeLogger, supplier: str, message: str, details: dict[str, str]
) -> None:
    shared_log = SupplierLog(memory_harness.clock)
    ids = [await place_order(memory_harness, supplier) for _ in range(3)]
    await fulfil_repeatedly(memory_harness, ids, shared_log, times=5)
    about = {"supplier": supplier, "sku": f"FROM-{supplier}", "transactionId": ids[0]}
    assert log.lines == [(message, about | details)]
    memory_harness.clock.advance(seconds=59)
    await fulfil_repeatedly(memory_harness, ids, shared_log, times=1)
    assert len(log.lines) == 1
    memory_harness.clock.advance(seconds=1)
    await fulfil_repeatedly(memory_harness, ids, shared_log, times=1)
    assert len(log.lines) == 2
    # A clock that is set back does not suppress the log for hours.
    memory_harness.clock.advance(hours=-3)
    await fulfil_repeatedly(memory_harness, ids, shared_log, times=2)
    assert len(log.lines) == 3


async def test_one_that_does_not_answer_is_asked_once_for_an_order_and_the_others_deliver(
    memory_harness: Harness,
) -> None:
    """A failing request may take seconds, and an order may have a hundred lines."""
    silent = UnavailableSupplier()
    deps = memory_harness.fulfil_deps
    deps = replace(deps, suppliers={**deps.suppliers, "stock": silent})
    transaction = (await memory_harness.place(("CARD", 1), ("PENNY", 2), ("DEMO-INSTANT", 3))).transaction
    done = await fulfil.fulfil(transaction.id, deps)
    assert silent.requested_skus == ["CARD"]
    assert done is not None
    assert (done.status, [line.delivered for line in done.lines]) == (TransactionStatus.PROCESSING, [0, 0, 3])


async def test_each_supplier_is_logged(memory_harness: Harness, log: FakeLogger) -> None:
    ids = [await place_order(memory_harness, supplier) for supplier in ("silent", "nobody", "noone")]
    await fulfil_repeatedly(memory_harness, ids, SupplierLog(memory_harness.clock), times=2)
    assert [(message, details["supplier"]) for message, details in log.lines] == [
        ("supplier unavailable", "silent"),
        ("no such supplier", "nobody"),
        ("no such supplier", "noone"),
    ]
