"""The other side of our topics: producers and readers that know the wire, and validators as processes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord
from confluent_kafka import Consumer, Producer, TopicPartition

from sandbox.ports import free_port
from sandbox.probes import http_status
from sandbox.process import ManagedProcess, Program
from services.chassis.avro.schemas import Schemas
from services.chassis.runtime.settings import REPOSITORY, KafkaSettings
from services.cli.read_topic import read_to_end
from services.sales.keys import build_key

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
SITE = 608


class Sent(NamedTuple):
    """A record on its way; `partition` None leaves the choice to the client."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class Place(NamedTuple):
    """Where a record went."""

    topic: str
    partition: int
    offset: int


class Installation:
    """A Kafka with our topics."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.settings = KafkaSettings(kafka_bootstrap_servers=bootstrap)
        self._producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 8_000_000, "linger.ms": 1})

    def send(self, records: Sequence[Sent]) -> list[Place]:
        """Write records as an outside producer does; returns where they went, once they are acknowledged."""
        places: dict[int, Place] = {}
        failures: list[Any] = []

        def noting(number: int) -> Callable[[Any, Any], None]:
            def delivered(error: Any, message: Any) -> None:
                if error:
                    failures.append(error)
                else:
                    places[number] = Place(message.topic(), message.partition(), message.offset())

            return delivered

        for number, one in enumerate(records):
            self._producer.produce(
                one.topic,
                value=one.value,
                partition=-1 if one.partition is None else one.partition,
                key=one.key,
                headers=list(one.headers),
                on_delivery=noting(number),
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert not failures, failures
        return [places[number] for number in range(len(records))]

    def sell(self, *products: str, site: int = SITE) -> None:
        """Put products into the catalogue."""
        prefix = SCHEMAS["product"].prefix
        self.send([Sent("catalog.products.v1", prefix + b"whatever", build_key(site, product)) for product in products])

    def withdraw(self, *products: str, site: int = SITE) -> None:
        """Take products out of the catalogue."""
        self.send([Sent("catalog.products.v1", None, build_key(site, product)) for product in products])

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """All records of a topic."""
        async with aclosing(read_to_end(self.settings, [topic])) as found:
            return [record async for record in found]

    def unread(self, topic: str, *, partitions: int, group: str = "validator") -> int:
        """How many records of a topic a group has not committed yet."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            waiting = 0
            for place in consumer.committed(
                [TopicPartition(topic, number) for number in range(partitions)], timeout=10
            ):
                low, high = consumer.get_watermark_offsets(place, timeout=10)
                # A group that has never committed there begins at the first record.
                waiting += high - max(place.offset, low)
            return waiting
        finally:
            consumer.close()

    def operate(self, *arguments: str, **told: str) -> str:
        """Run `python -m services …`; its output."""
        environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, **told}
        done = subprocess.run(
            [sys.executable, "-m", "services", *arguments],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=90,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout


class ValidatorProcess:
    """`python -m services.validator`, started."""

    def __init__(self, name: str, bootstrap: str, log: Path, settings: Mapping[str, str]) -> None:
        self._operations = f"http://127.0.0.1:{(port := free_port())}"
        self.child = ManagedProcess(
            Program(
                name=name,
                command=[sys.executable, "-m", "services.validator"],
                log=log,
                environment={
                    "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
                    "OPERATIONS_PORT": str(port),
                    "KAFKA_GROUP_INSTANCE_ID": name,
                    "KAFKA_SESSION_TIMEOUT_MS": "3000",
                    **settings,
                },
                directory=REPOSITORY,
            )
        )
        self.child.launch()

    def is_ready(self) -> bool:
        self.child.assert_running()
        return http_status(f"{self._operations}/ready") == 200

    def is_live(self) -> bool:
        return http_status(f"{self._operations}/live") == 200

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        """End it as a crash would."""
        self.child.kill()

    def freeze(self) -> None:
        """Let it stand still, as a machine that is out of memory would."""
        self.child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, unaware of the time that passed."""
        self.child.signal(signal.SIGCONT)


class OperatorProcess:
    """`python -m services …`, going on until it is stopped."""

    def __init__(self, bootstrap: str, log: Path, *arguments: str) -> None:
        self._child = ManagedProcess(
            Program(
                name="operator",
                command=[sys.executable, "-m", "services", *arguments],
                log=log,
                environment={"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
                directory=REPOSITORY,
            )
        )
        self._child.launch()

    def stop(self) -> None:
        self._child.stop()
