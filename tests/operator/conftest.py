"""Processes of the operator service over a real Kafka and a real MongoDB, with a clock of their own."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer

from sandbox.kafka import KafkaCluster
from services.chassis.http.server import build_application
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetters
from services.chassis.kafka.producer import Producer
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.cli import topic_admin
from services.cli.settings import CliSettings
from services.operator.adapters.dead_letter_topics import KafkaDeadLetterTopics
from services.operator.adapters.stores import MongoAuditTrail, MongoReplayStore
from services.operator.adapters.topics import KafkaTopics
from services.operator.flows.replays import Deps, work
from services.operator.http.api import OperatorApi
from services.topics import TOPICS
from tests.events.dying_producer import DyingProducer
from tests.events.harness import SCHEMAS, KafkaHarness
from tests.validator.records import a_consumer_record

ORDERS_IN = "orders.submitted.v1"


class FakeVerifier:
    """Accepts the tokens `operator` and `customer`; only the first one has the scope."""

    def cached(self, token: str) -> Token | None:
        scope = {"operator": "admin", "customer": "status:read"}.get(token)
        if scope is None:
            return None
        return Token(
            client_id=f"client-{token}",
            site=0,
            api_keys=frozenset(),
            scopes=frozenset({scope}),
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    def by_api_key(self, _api_key: str) -> None:
        return None


@dataclass
class Clock:
    """The brokers' time, which tests move on; no two events have the same."""

    us: int = 1_900_000_000_000_000

    def __call__(self) -> int:
        self.us += 1
        return self.us


@dataclass
class Process:
    """One process of the service."""

    deps: Deps
    client: TestClient[Any, Any]
    producer: DyingProducer
    audit: MongoAuditTrail

    async def request(self, method: str, path: str, *, who: str = "operator", status: int = 200, **options: Any) -> Any:
        async with self.client.request(
            method, f"/operator/v1{path}", headers={"Authorization": f"Bearer {who}"}, **options
        ) as response:
            body = await response.json()
            assert response.status == status, body
            return body

    async def work(self) -> None:
        """Do all that waits."""
        while await work(self.deps):
            pass


StartProcess = Callable[..., Awaitable[Process]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each module has a broker of its own, because topic names are fixed."""
    with KafkaCluster(tmp_path_factory.mktemp("operator-kafka")) as cluster:
        yield cluster.bootstrap_servers


@pytest.fixture(scope="module")
async def kafka(broker: str) -> KafkaHarness:
    """A broker with all topics, four partitions each."""
    await topic_admin.create(TOPICS, CliSettings(kafka_bootstrap_servers=broker, topic_partitions=4))
    return KafkaHarness(broker)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start_process(kafka: KafkaHarness, mongodb_uri: str, clock: Clock) -> AsyncIterator[StartProcess]:
    """Start processes of one installation."""
    database = f"operator-{uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:

        async def start(*, max_scanned: int = 10_000, max_letters: int = 10_000) -> Process:
            settings = MongoSettings.model_validate({"mongodb_uri": mongodb_uri, "mongodb_database": database})
            mongo = await stack.enter_async_context(Mongo.connect(settings))
            producer = DyingProducer(kafka.settings, client_id="test", linger_ms=0)
            await stack.enter_async_context(producer)
            await producer.wait_ready(30)
            audit = MongoAuditTrail(mongo, now_us=clock, new_id=_new_id, days=30)
            replays = MongoReplayStore(mongo, now_us=clock, days=30)
            await audit.create_indexes()
            await replays.create_indexes()
            deps = Deps(
                replays=replays,
                letters=KafkaDeadLetterTopics(
                    kafka.settings, producer, SCHEMAS, max_scanned=max_scanned, max_letters=max_letters
                ),
                audit=audit,
                now_us=clock,
                new_id=_new_id,
                owner=_new_id(),
                wake=lambda: None,
            )
            client = await stack.enter_async_context(TestClient(TestServer(build_application(_build_api(deps, kafka)))))
            return Process(deps=deps, client=client, producer=producer, audit=audit)

        yield start


@pytest.fixture
async def process(start_process: StartProcess) -> Process:
    return await start_process()


def _build_api(deps: Deps, kafka: KafkaHarness) -> Any:
    verifier: Any = FakeVerifier()
    sites: Any = FakeSites()
    return OperatorApi(
        authenticator=RequestAuthenticator(verifier, sites),
        is_started=lambda: True,
        topics=KafkaTopics(kafka.settings, now_us=deps.now_us),
        deps=deps,
        proxies=(),
        openapi=REPOSITORY / "schemas" / "openapi" / "operator.yaml",
    ).routes()


def _new_id() -> str:
    return uuid4().hex[:16]


async def send_dead_letters(
    producer: Producer, reason: str, count: int, *, group: str = "test", value: bytes | None = None
) -> None:
    """Send dead letters of records from all four partitions."""
    letters = DeadLetters(producer, group=group)
    records = [
        a_consumer_record(value or f"{reason} {number}".encode(), number, partition=number % 4)
        for number in range(count)
    ]
    await letters.send(DeadLetter(record, reason, "for a test") for record in records)


async def replayed_values(kafka: KafkaHarness, reason: str) -> list[bytes]:
    """Return what came back of a reason, with what came back twice."""
    return sorted(each.value for each in await kafka.records(ORDERS_IN) if each.value.startswith(f"{reason} ".encode()))
