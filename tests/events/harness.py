"""External producers and consumers of the topics, and validators as processes."""

import os
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
from services.chassis.kafka.read_topic import read_to_end
from services.chassis.runtime.settings import REPOSITORY, KafkaSettings
from services.sales.wire import build_key

SCHEMAS = Schemas.load(REPOSITORY / "schemas")
SITE = 608


class OutgoingRecord(NamedTuple):
    """A record to produce; with `partition` None the client chooses."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class RecordPosition(NamedTuple):
    """Topic, partition and offset of a produced record."""

    topic: str
    partition: int
    offset: int


class KafkaHarness:
    """A Kafka with the product's topics."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.settings = KafkaSettings(kafka_bootstrap_servers=bootstrap)
        self._producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 8_000_000, "linger.ms": 1})

    def send(self, records: Sequence[OutgoingRecord]) -> list[RecordPosition]:
        """Produce records as an external producer does; returns their positions once they are acknowledged."""
        positions: dict[int, RecordPosition] = {}
        failures: list[Any] = []

        def on_delivery(number: int) -> Callable[[Any, Any], None]:
            def delivered(error: Any, message: Any) -> None:
                if error:
                    failures.append(error)
                else:
                    positions[number] = RecordPosition(message.topic(), message.partition(), message.offset())

            return delivered

        for number, record in enumerate(records):
            self._producer.produce(
                record.topic,
                value=record.value,
                partition=-1 if record.partition is None else record.partition,
                key=record.key,
                headers=list(record.headers),
                on_delivery=on_delivery(number),
            )
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert not failures, failures
        return [positions[number] for number in range(len(records))]

    def add_products(self, *products: str, site: int = SITE) -> None:
        """Add products to the catalogue."""
        prefix = SCHEMAS["product"].prefix
        self.send(
            [OutgoingRecord("catalog.products.v1", prefix + b"any", build_key(site, product)) for product in products]
        )

    def remove_products(self, *products: str, site: int = SITE) -> None:
        """Remove products from the catalogue."""
        self.send([OutgoingRecord("catalog.products.v1", None, build_key(site, product)) for product in products])

    async def records(self, topic: str) -> list[ConsumerRecord]:
        """Read all records of a topic."""
        async with aclosing(read_to_end(self.settings, [topic])) as found:
            return [record async for record in found]

    def uncommitted(self, topic: str, *, partitions: int, group: str = "validator") -> int:
        """Return how many records of a topic a group has not committed."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            count = 0
            for partition in consumer.committed(
                [TopicPartition(topic, number) for number in range(partitions)], timeout=10
            ):
                low, high = consumer.get_watermark_offsets(partition, timeout=10)
                # Without a committed offset the group starts at the first record.
                count += high - max(partition.offset, low)
            return count
        finally:
            consumer.close()

    def run_cli(self, *arguments: str, **settings: str) -> str:
        """Run `python -m services …`; return its output."""
        environment = {**os.environ, "KAFKA_BOOTSTRAP_SERVERS": self.bootstrap, **settings}
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
    """A running `python -m services.validator`."""

    def __init__(self, name: str, bootstrap: str, log: Path, settings: Mapping[str, str]) -> None:
        self._operations = f"http://127.0.0.1:{(port := free_port())}"
        self.process = ManagedProcess(
            Program(
                name=name,
                command=[sys.executable, "-m", "services.validator"],
                log=log,
                environment={
                    "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
                    "OPERATIONS_PORT": str(port),
                    "HTTP_PORT": "0",
                    "KAFKA_GROUP_INSTANCE_ID": name,
                    "KAFKA_SESSION_TIMEOUT_MS": "3000",
                    **settings,
                },
                directory=REPOSITORY,
            )
        )
        self.process.launch()

    def is_ready(self) -> bool:
        self.process.assert_running()
        return http_status(f"{self._operations}/ready") == 200

    def is_live(self) -> bool:
        return http_status(f"{self._operations}/live") == 200

    def stop(self) -> None:
        self.process.stop()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        self.process.kill()

    def freeze(self) -> None:
        """Stop it with SIGSTOP, as a machine that is out of memory would."""
        self.process.suspend()

    def thaw(self) -> None:
        """Continue it, unaware of the time that passed."""
        self.process.resume()


class CliProcess:
    """A `python -m services …` that runs until it is stopped."""

    def __init__(self, bootstrap: str, log: Path, *arguments: str) -> None:
        self._process = ManagedProcess(
            Program(
                name="cli",
                command=[sys.executable, "-m", "services", *arguments],
                log=log,
                environment={"KAFKA_BOOTSTRAP_SERVERS": bootstrap},
                directory=REPOSITORY,
            )
        )
        self._process.launch()

    def stop(self) -> None:
        self._process.stop()
