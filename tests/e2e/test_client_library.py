"""The client library against a whole installation: each operation, with both clients."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest

import tillstream
from tests.e2e.customer import DEMO, SECOND, Tenant
from tests.e2e.installation import Installation
from tillstream import AsyncClient, Client
from tillstream.files import FileOptions


def order(**changes: Any) -> dict[str, Any]:
    return {
        "id": f"lib-{uuid4().hex}",
        "userId": "u1",
        "dateTime": datetime.now(UTC) - timedelta(days=1),
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": Decimal("9.990")}],
        **changes,
    }


def arguments(base: str, tenant: Tenant = SECOND) -> tuple[str, str, str, str]:
    return base, tenant.client_id, tenant.secret, tenant.api_key


@pytest.fixture
def client(base: str) -> Iterator[Client]:
    with Client(*arguments(base, DEMO)) as opened:
        yield opened


@pytest.fixture
async def async_client(base: str) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(*arguments(base, DEMO)) as opened:
        yield opened


def unknown_product() -> dict[str, Any]:
    return order(lineItems=[{"productId": "zz", "quantity": 1, "unitPrice": "1"}])


def test_an_import_and_its_job(client: Client) -> None:
    assert client.imports.limits().records_per_request == 100
    records = [order(), order(lineItems=[]), unknown_product(), order(colour="red")]
    dry = client.imports.validate(records)
    assert [record.outcome for record in dry.records] == ["succeeded", "failed", "failed", "succeeded"]
    assert dry.catalogue_as_of is not None
    accepted = client.imports.send(records, mode="online")
    assert [note.code for note in accepted.notes] == ["UNKNOWN_FIELD"]
    job = client.jobs.wait(accepted.job_id, timeout_s=30)
    assert (job.state, job.counts.success, job.counts.failed) == ("COMPLETED_WITH_WARNING", 2, 2)
    assert job.attributes.mode == "online"
    events = list(client.jobs.events(accepted.job_id, rows=1))
    assert [event.attributes.code for event in events] == ["INVALID_VALUE", "PRODUCT_NOT_FOUND"]
    assert events[1].attributes.product_id == "zz"
    assert len(list(client.jobs.events(accepted.job_id, show_all=True))) == 5
    failed = list(client.jobs.records(accepted.job_id, outcome="failed", rows=1))
    assert [record.index for record in failed] == [1, 2]
    assert failed[1].faults[0].product_id == "zz"
    assert any(each.job_id == accepted.job_id for each in client.jobs.list(kind="orders", mode="online", rows=2))


async def test_an_import_and_its_job_asynchronously(async_client: AsyncClient) -> None:
    assert (await async_client.imports.limits()).records_per_request == 100
    records = [order(), order(lineItems=[]), unknown_product()]
    assert [each.outcome for each in (await async_client.imports.validate(records)).records] == [
        "succeeded",
        "failed",
        "failed",
    ]
    accepted = await async_client.imports.send(records)
    job = await async_client.jobs.wait(accepted.job_id, timeout_s=30)
    assert (job.counts.success, job.counts.failed) == (1, 2)
    assert [event.level async for event in async_client.jobs.events(accepted.job_id, rows=1)] == ["WARNING"] * 2
    assert [each.index async for each in async_client.jobs.records(accepted.job_id, outcome="failed")] == [1, 2]
    since = datetime.now(UTC) - timedelta(minutes=5)
    assert accepted.job_id in [each.job_id async for each in async_client.jobs.list(since=since)]


def test_single_records_and_returns(client: Client) -> None:
    one = client.imports.send_one(order(userId="a/b"), user_id="a/b")
    returned = order(orderId="o", returnId=uuid4().hex)
    del returned["id"]
    several = client.imports.send([returned], kind="returns")
    for accepted in (one, several):
        assert client.jobs.wait(accepted.job_id, timeout_s=30).counts.success == 1


async def test_single_records_asynchronously(async_client: AsyncClient) -> None:
    accepted = await async_client.imports.send_one(order(), user_id="u1")
    assert (await async_client.jobs.wait(accepted.job_id, timeout_s=30)).state == "COMPLETED"


def a_file(directory: Path) -> Path:
    path = directory / "sales.csv"
    lines = [f"f-{uuid4().hex},u1,2024-05-01T10:00:00Z,{product},1,9.99" for product in ("4556", "zz", "4557")]
    path.write_text("\n".join(["id,userId,dateTime,productId,quantity,unitPrice", *lines]))
    return path


def test_a_file(client: Client, tmp_path: Path) -> None:
    *_, last = client.imports.file(a_file(tmp_path), files=FileOptions(manifest=tmp_path / "m.sqlite"))
    assert (last.is_done, last.tally.succeeded, last.tally.failed) == (True, 2, 1)


async def test_a_file_asynchronously(async_client: AsyncClient, tmp_path: Path) -> None:
    seen = [progress async for progress in async_client.imports.file(a_file(tmp_path), share=0.5)]
    assert (seen[-1].is_done, seen[-1].tally.succeeded, seen[-1].tally.failed) == (True, 2, 1)


def test_an_order_of_codes(client: Client) -> None:
    number = uuid4().hex
    placed = client.orders.place({"DEMO-INSTANT": 2}, client_order_number=number)
    assert client.orders.place({"DEMO-INSTANT": 2}, client_order_number=number).duplicate
    assert isinstance(placed.lines[0].unit_price, Decimal)
    codes = client.orders.codes(placed.transaction_id, until_complete=True, timeout_s=30)
    assert codes.counts.delivered == 2
    (units,) = codes.codes
    assert all(unit.redeem_code and unit.redeem_code not in repr(units) for unit in units.codes)
    transaction = client.orders.get(placed.transaction_id)
    assert transaction.client_order_number == number
    assert [each.transaction_id for each in client.orders.list(client_order_number=number)] == [placed.transaction_id]
    (purchase_order,) = [each for each in client.orders.purchase_orders() if each.currency == "USD"]
    assert client.orders.purchase_order(purchase_order.id).totals.ordered >= 2
    with pytest.raises(tillstream.InvalidRequestError) as refused:
        client.orders.place({"NO-SUCH": 1})
    assert refused.value.faults[0].pointer == "/products/0/sku"


async def test_an_order_of_codes_asynchronously(async_client: AsyncClient) -> None:
    placed = await async_client.orders.place({"DEMO-INSTANT": 1})
    codes = await async_client.orders.codes(placed.transaction_id, until_complete=True, timeout_s=30)
    assert codes.is_complete
    assert (await async_client.orders.get(placed.transaction_id)).status == "COMPLETED"
    assert placed.transaction_id in [each.transaction_id async for each in async_client.orders.list(rows=1)]
    (purchase_order,) = [each for each in await async_client.orders.purchase_orders() if each.currency == "USD"]
    assert (await async_client.orders.purchase_order(purchase_order.id)).id == purchase_order.id
    with pytest.raises(tillstream.NotFoundError):
        await async_client.invoices.get(str(uuid4()))
    with pytest.raises(tillstream.NotFoundError):
        await async_client.invoices.download(str(uuid4()))


DAY = date(2026, 3, 2)


def sold(user: str) -> dict[str, Any]:
    return order(userId=user, dateTime="2026-03-02T10:00:00Z", channel="lib")


def test_the_ledger(client: Client) -> None:
    user = f"u/{uuid4().hex[:8]}"
    one = sold(user)
    client.jobs.wait(client.imports.send([one]).job_id, timeout_s=30)
    deadline = monotonic() + 20
    while not (entries := list(client.ledger.user_orders(user, channel="lib", rows=1))):
        assert monotonic() < deadline
    assert (entries[0].order_id, entries[0].gross, entries[0].state) == (one["id"], Decimal("9.99"), "ORDERED")
    assert entries[0].order is not None
    assert entries[0].order.line_items[0]["productId"] == "4556"
    assert [entry.order_id for entry in client.ledger.order(one["id"])] == [one["id"]]
    report = client.ledger.report(by=("day", "channel"), since=DAY, until=DAY)
    assert [row.day for row in report.result if row.channel == "lib"] == [DAY]
    assert client.ledger.report_file(format="xlsx", since=DAY, until=DAY)[:2] == b"PK"
    assert one["id"].encode() in client.ledger.export(since=DAY, until=DAY)
    receipt = client.ledger.erase_user(user)
    assert client.ledger.erasure(receipt.receipt_id).requested_at == receipt.requested_at
    with pytest.raises(tillstream.NotFoundError):
        client.ledger.erasure(str(uuid4()))


async def test_the_ledger_asynchronously(async_client: AsyncClient) -> None:
    user = uuid4().hex
    one = sold(user)
    await async_client.jobs.wait((await async_client.imports.send([one])).job_id, timeout_s=30)
    deadline = monotonic() + 20
    while not (entries := [entry async for entry in async_client.ledger.user_orders(user)]):
        assert monotonic() < deadline
    assert entries[0].net == Decimal("9.99")
    assert len(await async_client.ledger.order(one["id"], channel="lib")) == 1
    assert (await async_client.ledger.report(by=["channel"], since=DAY, until=DAY)).result
    assert b"lib" in await async_client.ledger.report_file(format="csv", by=["channel"], since=DAY, until=DAY)
    assert one["id"].encode() in await async_client.ledger.export(since=DAY, until=DAY, format="csv")
    receipt = await async_client.ledger.erase_user(user)
    assert (await async_client.ledger.erasure(receipt.receipt_id)).requested_at == receipt.requested_at


def test_the_feed_and_its_endpoints(client: Client) -> None:
    started = datetime.now(UTC).isoformat()
    job = client.imports.send([order()]).job_id
    last = ""
    for event, cursor in client.events.tail(after=started, types=["job.finished"]):
        last = cursor
        if event.data["jobId"] == job:
            break
    assert client.events.page(after=last, types=["job.finished"], wait_s=1).pagination.next_page_token
    assert isinstance(client.events.keys()["keys"], list)
    assert isinstance(client.events.endpoints(), list)
    with pytest.raises(tillstream.InvalidRequestError):
        client.events.create_endpoint("nonsense")
    with pytest.raises(tillstream.NotFoundError):
        client.events.endpoint(str(uuid4()))
    with pytest.raises(tillstream.NotFoundError):
        list(client.events.deliveries(str(uuid4())))


async def test_the_feed_asynchronously(async_client: AsyncClient) -> None:
    started = datetime.now(UTC).isoformat()
    job = (await async_client.imports.send([order()])).job_id
    async for event, _ in async_client.events.tail(after=started):
        if event.type == "job.finished" and event.data["jobId"] == job:
            break
    assert (await async_client.events.keys())["keys"] is not None
    assert isinstance(await async_client.events.endpoints(), list)


def test_what_a_customer_may_not_do(client: Client) -> None:
    """The scope `stock:write` is not among those of a customer."""
    with pytest.raises(tillstream.NotAllowedError):
        client.orders.put_product("X", name="X", unit_price="1.00")
    with pytest.raises(tillstream.NotAllowedError):
        client.orders.load_codes("X", ["1"])
    with pytest.raises(tillstream.NotFoundError):
        client.jobs.get(str(uuid4()))


def test_wrong_credentials_are_not_retried(base: str) -> None:
    with Client(base, DEMO.client_id, "wrong", DEMO.api_key) as stranger, pytest.raises(tillstream.NotAllowedError):
        stranger.imports.limits()
    with Client(base, DEMO.client_id, DEMO.secret, "67890") as foreign, pytest.raises(tillstream.NotAllowedError):
        foreign.imports.limits()


@pytest.mark.skipif("E2E_BASE" in os.environ, reason="stops services")
async def test_a_restart_of_ingest_is_not_noticed(installation: Installation, client: Client) -> None:
    """Requests wait for a service that is away, and are carried out once."""
    await asyncio.to_thread(installation.run, "stop", "ingest")
    sending = asyncio.create_task(asyncio.to_thread(client.imports.send, [order()]))
    await asyncio.to_thread(installation.run, "start", "ingest")
    accepted = await sending
    assert (await asyncio.to_thread(client.jobs.wait, accepted.job_id, timeout_s=60)).counts.success == 1
