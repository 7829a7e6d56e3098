"""Every operation of the OpenAPI documents, called by both clients of the library against a whole installation."""

import asyncio
import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx2
import pytest
import yaml

from tests.e2e.command import Command
from tests.e2e.customer import Tenant
from tests.e2e.installation import REPOSITORY, Installation
from tests.e2e.test_client_commands import receiver as receiver  # noqa: PLC0414 - a fixture
from tillstream import AsyncClient, Client

SITE = 702
ALL = Tenant(client_id="all-scopes", secret="a" * 40, api_key="all-scopes")
SCOPES = (
    *("orders:write", "returns:write", "status:read", "orders:create", "orders:read", "codes:read", "invoices:read"),
    *("stock:write", "sales:read", "sales:erase", "events:read", "webhooks:write"),
)
DAY = date(2026, 3, 2)
DOCUMENTS = {"omnichannel", "common-status", "fulfilment", "ledger", "events"}


@pytest.fixture(scope="module")
def tenant(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Tenant:
    """A client with all scopes, those of an operator included."""
    directory = tmp_path_factory.mktemp("all-scopes")
    site = {"site": SITE, "name": "All", "appId": 1, "rootSource": "r", "datacenter": "qa", "recordsPerSecond": 1000}
    site |= {"apiKeys": [{"apiKey": ALL.api_key}]}
    client = {"clientId": ALL.client_id, "secret": ALL.secret, "site": SITE, "apiKeys": [ALL.api_key], "scopes": SCOPES}
    (directory / "tenants.json").write_text(json.dumps({"sites": [site], "clients": [client]}))
    installation.run_cli("init", "--tenants", str(directory / "tenants.json"))
    (directory / "catalogue.csv").write_text(f"site,productId,name\n{SITE},4556,Shoe\n")
    installation.run_cli("catalog", "load", str(directory / "catalogue.csv"))
    return ALL


@dataclass(frozen=True)
class Operation:
    """An operation of a document: its name, method, path, and the names of its query parameters."""

    name: str
    method: str
    path: re.Pattern[str]
    parameters: frozenset[str]


def operations() -> list[Operation]:
    """Return all operations but those that return the documents themselves."""
    found = []
    for name in DOCUMENTS:
        document = yaml.safe_load((REPOSITORY / "schemas" / "openapi" / f"{name}.yaml").read_text(encoding="utf-8"))
        shared = document["components"].get("parameters", {})
        for route, item in document["paths"].items():
            if route.endswith("openapi.yaml"):
                continue
            path = re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(route)))
            for method, operation in item.items():
                if "operationId" not in operation:
                    continue
                listed = [*item.get("parameters", []), *operation.get("parameters", [])]
                resolved = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in listed]
                query = frozenset(one["name"] for one in resolved if one["in"] == "query")
                found.append(Operation(f"{name}.{operation['operationId']}", method.upper(), path, query))
    return found


@dataclass
class Recorder:
    """Notes which operations have succeeded, and what they were asked with beyond their documents."""

    known: list[Operation] = field(default_factory=operations)
    called: set[str] = field(default_factory=set)
    undocumented: list[str] = field(default_factory=list)

    def note(self, response: httpx2.Response) -> None:
        url = response.request.url
        path = url.raw_path.decode().partition("?")[0]
        if response.status_code >= 300 or path.endswith("/oauth2/token"):
            return
        matching = [one for one in self.known if one.method == response.request.method and one.path.fullmatch(path)]
        self.called |= {one.name for one in matching}
        if not any(set(url.params) <= one.parameters for one in matching):
            self.undocumented.append(f"{response.request.method} {url}")

    async def note_async(self, response: httpx2.Response) -> None:
        self.note(response)


@pytest.fixture(params=["sync", "async"])
async def recorded(
    request: pytest.FixtureRequest, base: str, tenant: Tenant
) -> AsyncIterator[tuple[Client | AsyncClient, Recorder]]:
    recorder = Recorder()
    credentials = (base, tenant.client_id, tenant.secret, tenant.api_key)
    if request.param == "sync":
        http = httpx2.Client(base_url=base, timeout=30, event_hooks={"response": [recorder.note]})
        with Client(*credentials, http=http) as client:
            yield client, recorder
    else:
        async_http = httpx2.AsyncClient(base_url=base, timeout=30, event_hooks={"response": [recorder.note_async]})
        async with AsyncClient(*credentials, http=async_http) as async_client:
            yield async_client, recorder


async def done(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Return what a method of either client returns; what it iterates over is a list.

    Methods of the synchronous client run in a thread, so that a receiver in this process can answer meanwhile.
    """

    def run() -> Any:
        result = call(*arguments, **options)
        return list(result) if isinstance(result, Iterator) else result

    result = await asyncio.to_thread(run)
    if isinstance(result, AsyncIterator):
        return [item async for item in result]
    return await result if inspect.isawaitable(result) else result


async def until(call: Callable[[], Awaitable[Any]], *, within_s: float = 30) -> Any:
    """Call until the result is true."""
    deadline = monotonic() + within_s
    while not (found := await call()):
        assert monotonic() < deadline
        await asyncio.sleep(0.1)
    return found


def a_sale(user: str) -> dict[str, Any]:
    lines = [{"productId": "4556", "quantity": 1, "unitPrice": "9.99"}]
    return {"userId": user, "dateTime": f"{DAY}T10:00:00Z", "channel": "web", "lineItems": lines}


async def test_each_operation_works_with_both_clients(
    recorded: tuple[Any, Recorder],
    installation: Installation,
    receiver: tuple[str, list[tuple[dict[str, str], bytes]]],
) -> None:
    client, recorder = recorded
    user, started = f"u/{uuid4().hex[:8]}", datetime.now(UTC)
    endpoint = await create_endpoint(client, receiver[0])
    order = {"id": uuid4().hex, **a_sale(user)}
    await import_sales(client, order, user)
    await use_ledger(client, order["id"], user)
    transaction = await order_codes(client)
    await use_invoices(client, installation, transaction)
    await use_endpoint(client, endpoint, started, receiver[1])
    await erase(client, user)
    assert {one.name for one in recorder.known} == recorder.called
    assert recorder.undocumented == []


async def import_sales(client: Any, order: dict[str, Any], user: str) -> None:
    assert (await done(client.imports.limits)).records_per_second == 1000
    returned = {"orderId": order["id"], "returnId": uuid4().hex, **a_sale(user)}
    dry = await done(client.imports.validate, [returned], kind="returns")
    assert [(one.return_id, one.outcome) for one in dry.records] == [(returned["returnId"], "succeeded")]
    accepted = [
        await done(client.imports.send, [order, {**order, "id": "bad", "lineItems": []}], mode="online"),
        await done(client.imports.send, [returned], kind="returns"),
        await done(client.imports.send_one, {"id": uuid4().hex, **a_sale(user)}, user_id=user),
        await done(
            client.imports.send_one, {**returned, "returnId": uuid4().hex}, user_id=user, kind="returns", mode="offline"
        ),
    ]
    jobs = [await done(client.jobs.wait, one.job_id, timeout_s=30) for one in accepted]
    assert [(job.counts.success, job.counts.failed) for job in jobs] == [(1, 1), (1, 0), (1, 0), (1, 0)]
    first = accepted[0].job_id
    assert (await done(client.jobs.get, first)).state == "COMPLETED_WITH_WARNING"
    assert len(await done(client.jobs.events, first)) == 1
    (failed,) = await done(client.jobs.records, first, outcome="failed")
    assert (failed.index, failed.faults[0].field) == (1, "/lineItems")
    listed = await done(client.jobs.list, kind="returns", rows=1)
    assert {one.job_id for one in accepted[1::2]} <= {job.job_id for job in listed}


async def use_ledger(client: Any, order_id: str, user: str) -> None:
    async def entries() -> Any:
        found = await done(client.ledger.user_orders, user, rows=1)
        return found if len(found) == 2 and any(entry.returns for entry in found) else None

    assert order_id in {entry.order_id for entry in await until(entries)}
    assert (await done(client.ledger.order, order_id))[0].user_id == user
    report = await done(client.ledger.report, by=["day"], since=DAY, until=DAY)
    assert report.result[0].day == DAY
    assert (await done(client.ledger.report_file, format="xlsx", since=DAY, until=DAY))[:2] == b"PK"
    for format_ in ("ndjson", "csv"):
        assert order_id.encode() in await done(client.ledger.export, since=DAY, until=DAY, format=format_)


async def order_codes(client: Any) -> str:
    sku = f"LIB-{uuid4().hex[:8]}"
    product = await done(client.orders.put_product, sku, name="Card", unit_price="1.25", currency="USD")
    assert (product.sku, str(product.unit_price)) == (sku, "1.25")
    codes = [f"{sku}-A", {"redeemCode": f"{sku}-B", "pinCode": "0001"}]
    loaded = await done(client.orders.load_codes, sku, codes)
    assert (loaded.received, loaded.added) == (2, 2)
    assert (await done(client.orders.load_codes, sku, codes)).known == 2
    placed = await done(client.orders.place, {sku: 2}, client_order_number=sku)
    found = await done(client.orders.codes, placed.transaction_id, until_complete=True, timeout_s=30)
    assert {(unit.redeem_code, unit.pin_code) for unit in found.codes[0].codes} == {
        (f"{sku}-A", None),
        (f"{sku}-B", "0001"),
    }
    assert (await done(client.orders.get, placed.transaction_id)).counts.delivered == 2
    (listed,) = await done(client.orders.list, client_order_number=sku)
    assert listed.transaction_id == placed.transaction_id
    purchase_orders = await done(client.orders.purchase_orders, placed.purchase_order.business_date)
    assert placed.purchase_order.id in [one.id for one in purchase_orders]
    assert (await done(client.orders.purchase_order, placed.purchase_order.id)).currency == "USD"
    return str(placed.transaction_id)


async def use_invoices(client: Any, installation: Installation, transaction: str) -> None:
    """Close the day: its orders are invoiced; then the library and the command have the document."""
    purchase_order = (await done(client.orders.get, transaction)).purchase_order
    settings = await asyncio.to_thread(installation.environment_of, "fulfilment")
    close = ("fulfilment", "close-day", "--date", str(purchase_order.business_date))
    closed = await asyncio.to_thread(installation.try_cli, *close, settings=settings)
    assert closed.returncode == 0, closed.stderr

    async def issued() -> Any:
        found = await done(client.invoices.list, since=purchase_order.business_date, rows=1)
        return [one for one in found if one.purchase_order_id == purchase_order.id]

    (invoice,) = await until(issued)
    assert str((await done(client.invoices.get, invoice.id)).total) == "2.50"
    assert (await done(client.invoices.download, invoice.id))[:5] == b"%PDF-"
    assert invoice.number.encode() in await done(client.invoices.download, invoice.id, format="html")
    assert json.loads(await done(client.invoices.download, invoice.id, format="json"))["number"] == invoice.number


async def create_endpoint(client: Any, url: str) -> Any:
    endpoint = await done(client.events.create_endpoint, url, types=["job.finished"], description="lib")
    assert endpoint.secret.startswith("whsec_")
    assert endpoint.secret not in repr(endpoint)
    return endpoint


async def use_endpoint(
    client: Any, endpoint: Any, started: datetime, received: list[tuple[dict[str, str], bytes]]
) -> None:
    """Events of the imports before are delivered, and replayed."""
    page = await done(client.events.page, after=started.isoformat(), types=["job.finished"], wait_s=5)
    event = page.result[0]

    async def has_event(count: int = 1) -> bool:
        return [json.loads(body)["id"] for _, body in received].count(event.id) >= count

    await until(has_event)
    assert endpoint.id in [one.id for one in await done(client.events.endpoints)]
    assert (await done(client.events.endpoint, endpoint.id)).url == endpoint.url

    async def delivered() -> bool:
        found = await done(client.events.deliveries, endpoint.id, rows=1)
        return any(one.event_id == event.id and one.state == "delivered" and one.attempts for one in found)

    await until(delivered)
    replay = await done(client.events.replay, endpoint.id, event_id=event.id)
    await until(lambda: has_event(2))
    assert (await done(client.events.replay_state, endpoint.id, replay["id"]))["state"] in {"running", "finished"}
    assert (await done(client.events.stop_replay, endpoint.id, replay["id"]))["state"] in {"stopped", "finished"}
    assert (await done(client.events.rotate_secret, endpoint.id)).secret != endpoint.secret
    assert not (await done(client.events.change_endpoint, endpoint.id, enabled=False)).enabled
    assert (await done(client.events.keys))["keys"] is not None
    await done(client.events.delete_endpoint, endpoint.id)
    assert endpoint.id not in [one.id for one in await done(client.events.endpoints)]


async def erase(client: Any, user: str) -> None:
    receipt = await done(client.ledger.erase_user, user)
    assert (await done(client.ledger.erasure, receipt.receipt_id)).requested_at == receipt.requested_at


async def test_invoices_of_the_command_line(
    installation: Installation, base: str, tenant: Tenant, tmp_path: Path
) -> None:
    command = Command(base, tmp_path, tenant)
    placed = await asyncio.to_thread(command.run, "orders", "place", "DEMO-EUR=1", "--json")
    assert placed.code == 0, placed
    order = placed.events[0]["purchaseOrder"]
    settings = await asyncio.to_thread(installation.environment_of, "fulfilment")
    close = ("fulfilment", "close-day", "--date", order["businessDate"])
    assert (await asyncio.to_thread(installation.try_cli, *close, settings=settings)).returncode == 0

    async def listed() -> Any:
        found = await asyncio.to_thread(command.run, "invoices", "list", "--json")
        return [event for event in found.events if event["purchaseOrderId"] == order["id"]]

    (invoice,) = await until(listed)
    assert invoice["number"] in (await asyncio.to_thread(command.run, "invoices", "list")).out
    stored = await asyncio.to_thread(command.run, "invoices", "download", invoice["id"])
    assert stored.code == 0, stored
    assert (tmp_path / f"{invoice['number']}.pdf").read_bytes()[:5] == b"%PDF-"
    again = ("invoices", "download", invoice["id"], "--format", "html", "--out", "i.html")
    assert (await asyncio.to_thread(command.run, *again)).code == 0
    assert invoice["number"] in (tmp_path / "i.html").read_text()
