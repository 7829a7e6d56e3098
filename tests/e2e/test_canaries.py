"""Secrets and tokens, sent in every place that a caller controls, appear nowhere in output or storage."""

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

# Each CLI command starts a Python process, which is slow on a busy machine.
pytestmark = pytest.mark.timeout(300)

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
CLIENT = "canaries"


@dataclass
class Canaries:
    """Values that must appear nowhere, and the responses to the requests that contained them."""

    secret: str
    wrong: str = field(default_factory=lambda: f"canary{uuid4().hex}")
    tokens: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)

    @property
    def needles(self) -> list[bytes]:
        """The secrets in plain text and in Basic's encoding, and the signature of each token."""
        secrets = (self.secret, self.wrong)
        encoded = [base64.b64encode(f"{CLIENT}:{secret}".encode()).decode().rstrip("=")[:-1] for secret in secrets]
        signatures = [token.rpartition(".")[2] for token in self.tokens]
        return [needle.encode() for needle in (*secrets, *encoded, *signatures)]

    def seen_in(self, text: bytes) -> bool:
        return any(needle in text for needle in self.needles)


@pytest.fixture(scope="module")
def canaries(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Canaries:
    """A client with a recognisable secret."""
    made = Canaries(secret=f"canary{uuid4().hex}")
    client = {"clientId": CLIENT, "secret": made.secret, "site": 608, "apiKeys": ["12345"]}
    file = tmp_path_factory.mktemp("tenants") / "tenants.json"
    file.write_text(json.dumps({"clients": [client]}))
    made.answers.append(str(installation.run_cli("init", "--tenants", str(file))))
    return made


async def plant(customer: Customer, canaries: Canaries, secret: str) -> None:
    """Send a secret in every place, in valid and invalid requests."""
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": secret}
    basic = {"Authorization": "Basic " + base64.b64encode(f"{CLIENT}:{secret}".encode()).decode()}
    as_token = {"Authorization": f"Bearer {secret}", "Cookie": f"s={secret}", "X-Request-Id": f"{secret}!"}
    swapped = {**form, "client_id": secret, "client_secret": CLIENT}
    for base in BASES.values():
        path = f"{base}/oauth2/token"
        for options in (
            {"params": form},
            {"data": form},
            {"data": {"grant_type": "client_credentials"}, "headers": basic},
            {"data": swapped},
            {"params": swapped},
            {"data": {**form, "scope": secret}},
            {"data": {**form, "grant_type": secret}},
            {"params": form, "data": {"client_secret": "other"}},
            {"data": json.dumps(form)},
            {"data": form, "headers": {"Authorization": f"Basic {secret}!"}},
            {"data": secret * 300, "headers": FORM},
            {"data": f"client_secret={secret}%ff%", "headers": FORM},
        ):
            keep_answer(canaries, await customer.call("POST", path, **options))
        keep_answer(canaries, await customer.call("GET", path, params=form))
        keep_answer(canaries, await customer.call("POST", f"{base}/oauth2/revoke", data={**form, "token": secret}))
        keep_answer(canaries, await customer.call("POST", f"{base}/oauth2/introspect", data={**form, "token": secret}))
        keep_answer(canaries, await customer.call("GET", f"{base}/12345/{secret}", params=form, headers=as_token))
        keep_answer(
            canaries, await customer.call("POST", f"{base}/12345/orders", data="[]", params=form, headers=as_token)
        )
        keep_answer(canaries, await customer.call("GET", f"{base}/12345/jobs", params=form, headers=as_token))
    keep_answer(canaries, await customer.call("GET", f"/{secret}", params=form))


def keep_answer(canaries: Canaries, reply: Reply) -> None:
    """Record a response, without the token that it may contain."""
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
        """Logs of the services, the gateway, Kafka and MongoDB, and Kafka's segment files."""
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
            async with session.get(f"{addresses['operations']}/metrics") as response:
                exposed = await response.read()
            assert b"build_info" in exposed
            assert not canaries.seen_in(exposed), name

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
    """Return the content of a file; empty if it was deleted in the meantime."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


async def records(bootstrap: str) -> AsyncIterator[tuple[str, bytes]]:
    """Yield every record of every topic: key, headers and value joined."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    topics = [topic for topic in await admin.list_topics() if not topic.startswith("__")]
    await admin.close()
    # Without a group, all partitions are assigned at once.
    kafka = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap, auto_offset_reset="earliest", group_id=None)
    await kafka.start()
    try:
        ends = await kafka.end_offsets(kafka.assignment())
        while any([await kafka.position(partition) < end for partition, end in ends.items()]):
            for partition, polled in (await kafka.getmany(timeout_ms=200)).items():
                for record in polled:
                    yield (
                        partition.topic,
                        b" ".join([record.key or b"", str(record.headers).encode(), record.value or b""]),
                    )
    finally:
        await kafka.stop()


def documents(uri: str) -> list[tuple[str, Any]]:
    """Return every document of every collection of the product."""
    found = []
    with MongoClient[dict[str, Any]](uri) as mongo:
        for database in set(mongo.list_database_names()) - {"admin", "config"}:
            for collection in mongo[database].list_collection_names():
                found += [(collection, document) for document in mongo[database][collection].find()]
    return found
