"""A simulated installation: the four services as processes, the servers, and the requests that clients send."""

import asyncio
import base64
import contextvars
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services import topics
from services.chassis.avro.records import encode_record
from services.chassis.runtime.lifecycle import Service
from services.fulfilment import app as fulfilment
from services.fulfilment.settings import Settings as FulfilmentSettings
from services.ingest import app as ingest
from services.ingest.settings import Settings as IngestSettings
from services.ledger import app as ledger
from services.ledger.settings import Settings as LedgerSettings
from services.status import app as status
from services.status.settings import Settings as StatusSettings
from services.validator import app as validator
from services.validator.settings import Settings as ValidatorSettings
from services.values.sites import ApiKey, Site
from services.webhooks import app as webhooks
from services.webhooks.settings import Settings as WebhooksSettings
from tests.faults.checker.api import NoAnswerError, Response
from tests.simulation import setup
from tests.simulation.broker import Cluster
from tests.simulation.http_requests import Entrance, entrance_of, request_message
from tests.simulation.kafka_consumer import SimulatedAdmin, SimulatedConsumer
from tests.simulation.kafka_producer import SimulatedProducer
from tests.simulation.mongo_client import SimulatedMongoClient
from tests.simulation.network import Network
from tests.simulation.receiver import SimulatedTransport
from tests.simulation.replica_set import ReplicaSet
from tests.simulation.virtual_time import CURRENT, Process, SimulationLoop

SITE, API_KEY = 608, "12345"
PRODUCTS = ("4556", "4557", "4558")
JOB_DEADLINE_S = 4.0
SESSION_S = 3.0
RESTART_S = (0.2, 1.5)
REQUEST_TIMEOUT_S = 15.0

_COMMON: dict[str, Any] = {
    "auth_issuer": setup.ISSUER,
    "auth_algorithm": "ES256",
    "kafka_send_timeout_s": 3.0,
    "kafka_session_timeout_ms": int(SESSION_S * 1000),
}
_MONGO: dict[str, Any] = {"mongo_driver": "pymongo", "mongodb_timeout_ms": 3_000}
_KEYS: dict[str, Any] = {
    "code_encryption_keys": base64.b64encode(b"e" * 32).decode(),
    "code_digest_key": base64.b64encode(b"d" * 32).decode(),
}
# Built once: the settings' classes read environment and files.
SETTINGS: Mapping[str, Any] = {
    "ingest": IngestSettings(**_COMMON, **_MONGO),
    "validator": ValidatorSettings(**_COMMON),
    "status": StatusSettings(**_COMMON, **_MONGO, job_deadline_s=JOB_DEADLINE_S),
    "fulfilment": FulfilmentSettings(
        **_COMMON,
        **_MONGO,
        **_KEYS,
        fulfilment_deadline=20.0,
        fulfilment_sweep_interval_s=1.5,
        closing_interval_s=1.5,
        closing_grace_s=0.5,
    ),
    "webhooks": WebhooksSettings(
        **_COMMON,
        **_MONGO,
        webhooks_encryption_keys=base64.b64encode(b"w" * 32).decode(),
        webhooks_signing_keys=base64.b64encode(b"s" * 32).decode(),
        webhooks_lease_s=5.0,
    ),
    "ledger": LedgerSettings(**_COMMON, **_MONGO, erasure_key=base64.b64encode(b"l" * 32).decode()),
}
BUILD: Mapping[str, Callable[[Any], Any]] = {
    "ingest": ingest.build,
    "validator": validator.build,
    "status": status.build,
    "fulfilment": fulfilment.build,
    "ledger": ledger.build,
    "webhooks": webhooks.build,
}


@dataclass
class Replica:
    """A service's place in the installation: a process that is started again when it dies."""

    name: str
    kind: str
    process: Process
    service: Service | None = None
    # The API once the service is built.
    entrance: Entrance | None = None
    starts: int = 0


def _report(task: "asyncio.Task[Any]") -> None:
    """Report a service that cannot be built or started."""
    if not task.cancelled() and (error := task.exception()) is not None:
        setup.defects.found.append(f"a service did not start: {error!r}")


@dataclass
class Installation:
    """Everything that is simulated."""

    loop: SimulationLoop
    rng: random.Random
    network: Network = field(init=False)
    kafka: Cluster = field(init=False)
    mongodb: ReplicaSet = field(init=False)
    replicas: dict[str, Replica] = field(default_factory=dict)
    restarts: bool = True
    deaths: int = 0
    # Requests that a direct handler has taken.
    direct_requests: int = 0

    def __post_init__(self) -> None:
        self.network = Network(self.rng)
        self.kafka, self.mongodb = Cluster(self.rng), ReplicaSet(self.rng)
        SimulatedProducer.cluster = SimulatedConsumer.cluster = SimulatedAdmin.cluster = self.kafka
        SimulatedProducer.network = SimulatedConsumer.network = SimulatedAdmin.network = self.network
        SimulatedConsumer.rng = self.rng
        SimulatedMongoClient.cluster, SimulatedMongoClient.network = self.mongodb, self.network
        SimulatedTransport.network = self.network

    def create_topics(self) -> None:
        """Create all topics, with a site and its products in the compacted ones."""
        for topic in topics.TOPICS:
            self.kafka.create_topic(topic.name, min(topic.partitions or 2, 2))
        known = setup.all_schemas()
        site = Site(
            site=SITE,
            name="Demo",
            app_id=1078,
            root_source="omnichannel-api/qa",
            datacenter="qa",
            time_zone="Europe/Berlin",
            api_keys=(ApiKey(api_key=API_KEY),),
            records_per_second=1000,
        )
        self.kafka.publish(topics.AUTH_SITES.name, str(SITE).encode(), encode_record(site.to_fields(), known["site"]))
        for product in PRODUCTS:
            record = {"site": SITE, "productId": product, "name": None}
            key = f"{SITE}|{product}".encode()
            self.kafka.publish(topics.CATALOG_PRODUCTS.name, key, encode_record(record, known["product"]))

    def start(self, kind: str, name: str) -> None:
        """Start a replica of a service."""
        process = Process(name)
        replica = self.replicas.get(name)
        if replica is None:
            replica = self.replicas[name] = Replica(name, kind, process)
        else:
            process.clock_offset_s = replica.process.clock_offset_s
            replica.process, replica.service, replica.entrance = process, None, None
        replica.starts += 1
        process.on_death = lambda: self._restart_later(replica)
        self.run_in(process, self._run(replica)).add_done_callback(_report)

    def run_in(self, process: Process, coroutine: Any) -> "asyncio.Task[Any]":
        """Run as a task of the process."""
        context = contextvars.Context()
        context.run(CURRENT.set, process)
        task = self.loop.create_task(coroutine, context=context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.loop.remains.append(task)
        return task

    async def _run(self, replica: Replica) -> None:
        service: Service = await BUILD[replica.kind](SETTINGS[replica.kind])
        replica.service, replica.entrance = service, entrance_of(service.components, self._count_direct)
        for component in service.components:
            await component.start()
        if replica.entrance is not None:
            replica.entrance.open()

    def _count_direct(self) -> None:
        self.direct_requests += 1

    def _restart_later(self, replica: Replica) -> None:
        self.deaths += 1
        if self.restarts:
            low, high = RESTART_S
            delay_s = low + (high - low) * self.rng.random()
            self.loop.call_later(delay_s, self.start, replica.kind, replica.name, context=contextvars.Context())

    def end(self) -> None:
        """Kill everything."""
        self.restarts = False
        for replica in self.replicas.values():
            replica.process.kill()

    async def stop(self, name: str) -> None:
        """Stop a replica as SIGTERM does, and start it again."""
        replica = self.replicas[name]
        process, service = replica.process, replica.service
        if service is None or not process.is_alive:
            return

        async def stop() -> None:
            for component in reversed(service.components):
                await component.stop()

        stopping = self.run_in(process, stop())
        await asyncio.wait([stopping], timeout=20.0)
        process.kill()

    async def call(
        self,
        name: str,
        method: str,
        path: str,
        *,
        token: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """Send a request to a replica; raises `NoAnswerError`."""
        replica = self.replicas.get(name)
        entrance = replica.entrance if replica is not None and replica.process.is_alive else None
        if replica is None or entrance is None or not entrance.is_open:
            await asyncio.sleep(0.001)
            raise NoAnswerError("connection refused")
        process = replica.process
        # As clients of ingest send it: what is compressed never reaches the direct handler.
        is_zipped = replica.kind == "ingest" and method == "POST"
        message, content = request_message(
            method, path, token=token, body=body, headers=headers or {}, is_zipped=is_zipped
        )
        handling = self.run_in(process, entrance.respond(message, content))
        done, _ = await asyncio.wait([handling], timeout=timeout_s)
        if not done or not process.is_alive:
            if process.is_alive:
                handling.cancel()
            raise NoAnswerError("no response")
        response: Response = handling.result()
        return response
