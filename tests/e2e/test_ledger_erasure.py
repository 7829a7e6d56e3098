"""An erased user is nowhere in the ledger: not in its collections, logs, metrics and responses, nor after a replay."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from tests.e2e.customer import BASES, DEMO, Customer, Reply, Tenant
from tests.e2e.installation import Installation
from tests.e2e.test_canaries import content, documents
from tests.e2e.test_ledger import entries_of, read

TOPICS = ("orders.validated.v1", "returns.validated.v1")
DAY = {"from": "2020-02-03", "to": "2020-02-04"}


@dataclass
class Person:
    """A user whose every personal value is recognisable, and the responses that could contain one."""

    user: str = field(default_factory=lambda: f"person-{uuid4().hex}")
    mail: str = field(default_factory=lambda: uuid4().hex * 2)
    card: str = field(default_factory=lambda: uuid4().hex * 2)
    segment: str = field(default_factory=lambda: f"segment-{uuid4().hex}")
    segment_name: str = field(default_factory=lambda: f"name-{uuid4().hex}")
    answers: list[bytes] = field(default_factory=list)

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "userId": self.user,
            "emailHash": self.mail,
            "ccHash": self.card,
            "segmentIds": [self.segment],
            "segmentNames": [self.segment_name],
        }

    def seen_in(self, text: bytes) -> set[str]:
        """Which kinds of personal values the text contains."""
        kinds = ("user", "mail", "card", "segment", "segment_name")
        return {kind for kind in kinds if getattr(self, kind).encode() in text}


def an_eraser(installation: Installation, directory: Path) -> Tenant:
    """Create a client that may erase users."""
    tenant = Tenant(client_id=f"eraser-{uuid4().hex[:8]}", secret=uuid4().hex, api_key=DEMO.api_key)
    client = {
        "clientId": tenant.client_id,
        "secret": tenant.secret,
        "site": 608,
        "apiKeys": [tenant.api_key],
        "scopes": ["sales:read", "sales:erase"],
    }
    file = directory / "tenants.json"
    file.write_text(json.dumps({"clients": [client]}))
    installation.run_cli("init", "--tenants", str(file), within_s=120)
    return tenant


def sales_of(customer: Customer, person: Person, channel: str) -> tuple[list[Any], list[Any]]:
    """Orders, one of them in two versions, and returns: of an order, in another channel, and without an order."""
    orders = [
        customer.order(**person.fields, channel=channel, dateTime="2020-02-03T12:00:00Z", storeId="s") for _ in range(5)
    ]
    orders.append({**orders[0], "couponCode": "C", "couponValue": 1})
    ids = [orders[1]["id"], orders[2]["id"], f"unknown-{uuid4().hex}"]
    returns = [
        customer.order(
            id=...,
            **person.fields,
            orderId=id_,
            returnId=f"r-{number}",
            channel="offline" if number else channel,
            dateTime="2020-02-04T12:00:00Z",
        )
        for number, id_ in enumerate(ids)
    ]
    return orders, returns


# A stopped ledger stays a member of its group for 45 seconds, and until then its offsets cannot be changed.
REPLAYED = pytest.param(True, marks=[pytest.mark.long, pytest.mark.timeout(300)], id="and a replay from the beginning")


@pytest.mark.parametrize("is_replayed", [pytest.param(False, id="erased"), REPLAYED])
async def test_an_erased_user_is_nowhere_in_the_ledger(
    customer: Customer, installation: Installation, session: aiohttp.ClientSession, tmp_path: Path, *, is_replayed: bool
) -> None:
    """Must hold: no personal value anywhere, sums unchanged. Known by searching everything that the ledger has."""
    person, channel = Person(), f"channel-{uuid4().hex[:8]}"
    orders, returns = sales_of(customer, person, channel)
    for records in (orders[:-1], orders[-1:]):
        assert (await customer.send_with_retry(records)).status == 202
    assert (await customer.send_with_retry(returns, kind="returns")).status == 202
    before = await recorded(customer, person, channel)
    assert person.seen_in(ledger_documents(installation)) == {"user", "mail", "card", "segment", "segment_name"}

    eraser = Customer(installation.base, session, await asyncio.to_thread(an_eraser, installation, tmp_path))
    await erase(eraser, person)
    await assert_gone(customer, installation, person, [order["id"] for order in orders])
    assert await report_of(customer, channel) == before

    if is_replayed:
        await replay(installation)
    later = customer.order(**person.fields, channel=f"{channel}-later", dateTime="2020-02-03T12:00:00Z")
    assert (await customer.send_with_retry([later])).status == 202
    (entry,) = await found(customer, later["id"])
    assert entry["userId"].startswith("erased-")
    # Reports are refused until a replay has reached the ends of the topics.
    assert await report_of(customer, channel) == before
    await assert_gone(customer, installation, person, [order["id"] for order in [*orders, later]])


async def recorded(customer: Customer, person: Person, channel: str) -> Any:
    """Return the report once everything is recorded: five orders, one of them twice, and three returns."""
    until = monotonic() + 60
    while True:
        entries = await entries_of(customer, person.user, count=6)
        shown = (sum(len(entry["versions"]) for entry in entries), sum(len(entry["returns"]) for entry in entries))
        if shown == (6, 3):
            return await report_of(customer, channel)
        assert monotonic() < until, shown
        await asyncio.sleep(0.1)


async def report_of(customer: Customer, channel: str) -> Any:
    return (await read(customer, "/reports/sales", by="day,channel,store", channel=channel, **DAY))["result"]


async def found(customer: Customer, order_id: str) -> list[Any]:
    """Return the entries with the id, once there are any."""
    until = monotonic() + 60
    while True:
        reply = await ask(customer, f"/orders/{order_id}")
        if reply.status == 200:
            entries: list[Any] = reply.json["result"]
            return entries
        assert monotonic() < until, reply
        await asyncio.sleep(0.1)


async def ask(customer: Customer, path: str, *, method: str = "GET", **query: str) -> Reply:
    """Send a request to the ledger, again while it is down."""
    headers = {"Authorization": f"Bearer {await customer.token('ledger')}"}
    until = monotonic() + 60
    while True:
        reply = await customer.call(
            method, f"{BASES['ledger']}/{customer.tenant.api_key}{path}", headers=headers, params=query
        )
        if reply.status not in {429, 502, 503} or monotonic() > until:
            return reply
        await asyncio.sleep(0.1)


async def erase(eraser: Customer, person: Person) -> None:
    reply = await ask(eraser, f"/users/{person.user}", method="DELETE")
    assert reply.status == 202, reply
    person.answers.append(reply.body)
    until = monotonic() + 60
    while True:
        receipt = await ask(eraser, f"/erasures/{reply.json['receiptId']}")
        if receipt.json["state"] == "ERASED":
            person.answers.append(receipt.body)
            return
        assert monotonic() < until, receipt
        await asyncio.sleep(0.1)


async def assert_gone(customer: Customer, installation: Installation, person: Person, orders: list[str]) -> None:
    assert person.seen_in(ledger_documents(installation)) == set()
    logs = [path for path in installation.directory.rglob("*.log") if path.name.startswith("ledger")]
    assert logs
    for path in logs:
        assert person.seen_in(content(path)) == set(), path.name
    operations = installation.endpoints["services"]["ledger"]["operations"]
    async with customer.session.get(f"{operations}/metrics") as response:
        metrics = await response.read()
    assert b"ledger_records_total" in metrics
    assert person.seen_in(metrics) == set()
    page = await ask(customer, f"/users/{person.user}/orders")
    assert page.json["result"] == []
    replies = [page, await ask(customer, "/reports/sales", by="day,channel,store", **DAY)]
    replies += [await ask(customer, f"/orders/{id_}") for id_ in orders]
    replies += [await ask(customer, "/exports/orders", format=name, **DAY) for name in ("ndjson", "csv")]
    assert {reply.status for reply in replies} == {200}
    for body in [*(reply.body + str(reply.headers).encode() for reply in replies), *person.answers]:
        assert person.seen_in(body) == set()


def ledger_documents(installation: Installation) -> bytes:
    """All documents of all collections of the ledger, as text."""
    found = [(name, each) for name, each in documents(installation.endpoints["mongodb_uri"]) if "ledger" in name]
    assert {"ledger_entries", "ledger_sums", "ledger_books", "ledger_partitions"} <= {name for name, _ in found}
    return "\n".join(repr(each) for _, each in found).encode()


async def replay(installation: Installation) -> None:
    """Let the ledger read its topics from the beginning."""
    await asyncio.to_thread(installation.run, "stop", "ledger")
    servers = installation.endpoints["kafka_bootstrap_servers"]
    kafka = AIOKafkaConsumer(bootstrap_servers=servers, group_id="ledger", enable_auto_commit=False)
    await kafka.start()
    try:
        await kafka._client.force_metadata_update()
        partitions = [
            TopicPartition(topic, number)
            for topic in TOPICS
            for number in kafka._client.cluster.partitions_for_topic(topic) or ()
        ]
        assert len(partitions) >= 2
        kafka.assign(partitions)
        until = monotonic() + 90
        while not await committed(kafka, partitions):
            assert monotonic() < until
            await asyncio.sleep(1)
    finally:
        await kafka.stop()
    await asyncio.to_thread(installation.run, "start", "ledger")


async def committed(kafka: AIOKafkaConsumer, partitions: list[TopicPartition]) -> bool:
    """Try to set the group's offsets to the beginning."""
    try:
        await kafka.commit(dict.fromkeys(partitions, 0))
    except KafkaError:
        return False
    return True
