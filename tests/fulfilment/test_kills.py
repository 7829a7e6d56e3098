"""F4: a process is killed at a failpoint, and another one continues.

No code is lost or delivered twice, no order is on two purchase orders, no number is skipped.
"""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass

import pytest

from services.chassis.runtime.settings import REPOSITORY
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.domain.purchase_order import PurchaseOrder
from services.fulfilment.domain.transaction import TransactionStatus
from tests.fulfilment.billing_checks import check_accounts
from tests.fulfilment.harness import SITE, Harness


@dataclass
class WorkerProcesses:
    """Starts processes that work on the harness's database."""

    harness: Harness
    uri: str

    async def run(self, work: str, failpoint: str = "") -> int:
        mongo = self.harness.mongo
        assert mongo is not None
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.fulfilment.worker_process",
            self.uri,
            mongo._database.name,
            work,
            str(self.harness.clock()),
            cwd=REPOSITORY,
            env={**os.environ, "FAILPOINTS": failpoint},
        )
        async with asyncio.timeout(60):
            return await process.wait()

    async def run_until_killed(self, work: str, failpoint: str) -> None:
        assert await self.run(work, failpoint) == -signal.SIGKILL


@pytest.fixture
def processes(mongo_harness: Harness, mongodb_uri: str) -> WorkerProcesses:
    return WorkerProcesses(mongo_harness, mongodb_uri)


@pytest.mark.parametrize("failpoint", ["fulfilment.sequence_reserved", "fulfilment.stored"])
async def test_killed_while_placing(processes: WorkerProcesses, failpoint: str) -> None:
    """After the sequence number was reserved, and after the transaction was stored."""
    harness = processes.harness
    await processes.run_until_killed("order:first", failpoint)
    await harness.place(("CARD", 2), transaction_id="first", is_retry=True)
    await harness.place(("CARD", 2), transaction_id="second")
    stored = await harness.transactions.find("first")
    assert (stored.status, stored.business_date) == (TransactionStatus.PROCESSING, "2026-03-04")
    harness.clock.advance(days=1)
    await harness.close_days()
    (invoice,) = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    assert invoice.draft.transactions == 2
    await check_accounts(harness)


@pytest.mark.parametrize("failpoint", ["fulfilment.allocated", "fulfilment.counted"])
async def test_killed_while_fulfilling(processes: WorkerProcesses, failpoint: str) -> None:
    """After codes were allocated, and after they were counted."""
    harness = processes.harness
    await harness.load("CARD", *(f"c{n}" for n in range(4)))
    for name in ("first", "second"):
        await harness.place(("CARD", 2), transaction_id=name)
    await asyncio.gather(*(processes.run_until_killed(f"fulfil:{name}", failpoint) for name in ("first", "second")))
    await asyncio.gather(*(harness.fulfil(name) for name in ("first", "second", "first")))
    codes = [await harness.get_codes(name) for name in ("first", "second")]
    assert sorted(code for disclosed in codes for code in disclosed.values()) == ["c0", "c1", "c2", "c3"]
    done = [await harness.transactions.find(name) for name in ("first", "second")]
    assert [transaction.status for transaction in done] == [TransactionStatus.COMPLETED] * 2


@pytest.mark.parametrize("failpoint", ["fulfilment.closing", "fulfilment.issuing", "fulfilment.issued"])
async def test_killed_while_closing(processes: WorkerProcesses, failpoint: str) -> None:
    """After closing began, and before and after the invoice is stored; one sequence number was never used."""
    harness = processes.harness
    await harness.place(("CARD", 1))
    await harness.place(("CARD-EUR", 1))
    assert (
        await harness.purchase_orders.reserve_sequence(
            PurchaseOrder(site=SITE, business_date="2026-03-04", currency="USD")
        )
        == 2
    )
    harness.clock.advance(days=1)
    await asyncio.gather(*(processes.run_until_killed("close", f"{failpoint}:{times}") for times in (1, 2)))
    late = (await harness.place(("CARD", 1))).transaction
    assert late.business_date == "2026-03-05"
    await asyncio.gather(harness.close_days(), harness.close_days())
    invoices = await harness.invoices.find_page(InvoiceQuery(site=SITE))
    assert sorted(document.label for document in invoices) == ["2026-000001", "2026-000002"]
    await check_accounts(harness)
