"""Secrets and tokens, planted wherever a caller can put them, are nowhere in what the system writes or answers."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import MongoClient

from tests.e2e.customer import BASES, Customer, Reply
from tests.e2e.installation import Installation

# Each of an operator's commands starts a Python of its own; a busy machine takes its time.
pytestmark = pytest.mark.timeout(300)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLIENT = "canaries"


@dataclass
class Canaries:
    """What must be seen nowhere, and what was answered to whoever sent it."""

    secret: str
    wrong: str = field(default_factory=lambda: f"canary{uuid4().hex}")
    tokens: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def needles(self) -> list[bytes]:
        """In the clear, as Basic spells them, and the part of each token that only auth could have written."""
        secrets = (self.secret, self.wrong)
        spelled = [base64.b64encode(f"{CLIENT}:{secret}".encode()).decode().rstrip("=")[:-1] for secret in secrets]
        signatures = [token.rpartition(".")[2] for token in self.tokens]
        return [bird.encode() for bird in (*secrets, *spelled, *signatures)]

    def seen_in(self, text: bytes) -> bool:
        return any(bird in text for bird in self.needles)


@pytest.fixture(scope="module")
def canaries(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Canaries:
    """A client with a secret that we would recognise."""
    made = Canaries(secret=f"canary{uuid4().hex}")
    client = {"clientId": CLIENT, "secret": made.secret, "site": 608, "apiKeys": ["12345"]}
    file = tmp_path_factory.mktemp("tenants") / "tenants.json"
    file.write_text(json.dumps({"clients": [client]}))
    made.answers.append(str(installation.run_cli("init", "--tenants", str(file))))
    return made


async def plant(customer: Customer, canaries: Canaries, secret: str) -> None:
    """Send a secret in every place, rightly and wrongly."""
    given = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{CLIENT}:{secret}".encode()).decode()}
    as_token = {"Authorization": f"Bearer {secret}", "Cookie": f"s={secret}", "X-Request-Id": f"{secret}!"}
    swapped = {**given, "client_id": secret, "client_secret": CLIENT}
    for base in BASES.values():
        path = f"{base}/oauth2/token"
        for how in (
            {"params": given},
            {"data": given},
            {"data": {"grant_type": "client_credentials"}, "headers": basic},
            {"data": swapped},
            {"params": swapped},
            {"data": {**given, "scope": secret}},
            {"data": {**given, "grant_type": secret}},
            {"params": given, "data": {"client_secret": "other"}},
            {"data": json.dumps(given)},
            {"data": given, "headers": {"Authorization": f"Basic {secret}!"}},
            {"data": secret * 300, "headers": FORM},
            {"data": f"client_secret={secret}%ff%", "headers": FORM},
        ):
            keep_answer(canaries, await customer.call("POST", path, **how))
        keep_answer(canaries, await customer.call("GET", path, params=given))
        keep_answer(canaries, await customer.call("POST", f"{base}/oauth2/revoke", data={**given, "token": secret}))
        keep_answer(canaries, await customer.call("POST", f"{base}/oauth2/introspect", data={**given, "token": secret}))
        keep_answer(canaries, await customer.call("GET", f"{base}/12345/{secret}", params=given, headers=as_token))
        keep_answer(
            canaries, await customer.call("POST", f"{base}/12345/orders", data="[]", params=given, headers=as_token)
        )
        keep_answer(canaries, await customer.call("GET", f"{base}/12345/jobs", params=given, headers=as_token))
    keep_answer(canaries, await customer.call("GET", f"/{secret}", params=given))


def keep_answer(canaries: Canaries, reply: Reply) -> None:
    """An answer, but for the token in it, which is for its client to see."""
    if reply.status == 200 and b"access_token" in reply.body:
        canaries.tokens.append(reply.json["access_token"])
        reply = Reply(reply.status, reply.headers, b"")
    canaries.answers.append(str(reply))


@pytest.fixture(scope="module")
async def _planted(installation: Installation, session: aiohttp.ClientSession, canaries: Canaries) -> None:
    customer = Customer(installation.base, session)
    await plant(customer, canaries, canaries.secret)
    await plant(customer, canaries, canaries.wrong)
    for token in canaries.tokens[:3]:
        bearer = {"Authorization": f"Bearer {token}"}
        keep_answer(
            canaries, await customer.call("GET", "/common-status/v1/12345/jobs", params={"t": token}, headers=bearer)
        )
        keep_answer(canaries, await customer.call("GET", "/omnichannel/api/v1/12345/limits", headers=bearer))
    await asyncio.to_thread(installation.run, "stop", "auth")
    try:
        await plant(customer, canaries, canaries.secret)
    finally:
        await asyncio.to_thread(installation.run, "start", "auth")
    assert len(canaries.tokens) >= 9
    await customer.wait_for_job((await customer.send_with_retry([customer.order()])).json["jobId"])


@pytest.mark.usefixtures("_planted")
class TestNoCanaryIsSeen:
    async def test_in_any_answer(self, canaries: Canaries) -> None:
        assert len(canaries.answers) > 150
        assert [answer for answer in canaries.answers if canaries.seen_in(answer.encode())] == []

    async def test_in_any_log(self, installation: Installation, canaries: Canaries) -> None:
        """Logs of all services, the front door's, Kafka's and MongoDB's, and Kafka's segments as they lie on disk."""
        files = [path for path in installation.directory.rglob("*.log") if path.is_file()]
        files += installation.directory.glob("*.json")
        names = {path.name for path in files}
        assert {
            "auth.log",
            "ingest.log",
            "status.log",
            "validator.log",
            "gateway.log",
            "kafka.log",
            "mongod.log",
        } <= names
        assert "token issued" in (installation.directory / "logs" / "auth.log").read_text()
        assert [path for path in files if canaries.seen_in(content(path))] == []

    async def test_in_any_metric(
        self, installation: Installation, session: aiohttp.ClientSession, canaries: Canaries
    ) -> None:
        for name, addresses in installation.endpoints["services"].items():
            async with session.get(f"{addresses['operations']}/metrics") as answer:
                told = await answer.read()
            assert b"build_info" in told
            assert not canaries.seen_in(told), name

    async def test_on_any_topic(self, installation: Installation, canaries: Canaries) -> None:
        topics = set()
        async for topic, record in records(installation.endpoints["kafka_bootstrap_servers"]):
            topics.add(topic)
            assert not canaries.seen_in(record), topic
        assert {"auth.sites.v1", "orders.submitted.v1", "jobs.events.v1"} <= topics

    async def test_in_any_document(self, installation: Installation, canaries: Canaries) -> None:
        collections = set()
        for name, document in documents(installation.endpoints["mongodb_uri"]):
            collections.add(name)
            assert not canaries.seen_in(str(document).encode()), name
        assert {"auth_clients", "auth_keys"} <= collections


def content(path: Path) -> bytes:
    """What a file holds; nothing, if it was deleted meanwhile."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def records(bootstrap: str) -> AsyncIterator[tuple[str, bytes]]:
    """Every record of every topic, key, headers and value in one."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
    await admin.close()
    # Without a group, all partitions are ours from the start.
    kafka = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await kafka.start()
    try:
        ends = await kafka.end_offsets(kafka.assignment())
        while any([await kafka.position(place) < end for place, end in ends.items()]):
            for place, polled in (await kafka.getmany(timeout_ms=200)).items():
                for record in polled:
                    yield place.topic, b" ".join([record.key or b"", str(record.headers).encode(), record.value or b""])
    finally:
        await kafka.stop()


def documents(uri: str) -> list[tuple[str, Any]]:
    """Every document of every collection that is ours."""
    found = []
    with MongoClient[dict[str, Any]](uri) as mongo:
        for database in set(mongo.list_database_names()) - {"admin", "config"}:
            for collection in mongo[database].list_collection_names():
                found += [(collection, document) for document in mongo[database][collection].find()]
    return found
