"""A Kafka with the product's topics, for processes that use their real names."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sandbox.kafka import KafkaCluster
from services.cli import topic_admin
from services.cli.settings import CliSettings
from services.topics import TOPICS
from tests.events.harness import KafkaHarness, ValidatorProcess


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Each module has a broker of its own, because topic names are fixed."""
    with KafkaCluster(tmp_path_factory.mktemp("events-kafka")) as cluster:
        yield cluster.bootstrap_servers


@pytest.fixture(scope="module")
async def harness(broker: str) -> KafkaHarness:
    """A broker with all topics, four partitions each, and two products of site 608."""
    settings = CliSettings(kafka_bootstrap_servers=broker, topic_partitions=4)
    await topic_admin.create(TOPICS, settings)
    harness = KafkaHarness(broker)
    harness.add_products("4556", "4557")
    return harness


StartValidator = Callable[..., ValidatorProcess]


@pytest.fixture
async def start_validator(harness: KafkaHarness, tmp_path: Path) -> AsyncIterator[StartValidator]:
    """Start validators; those still running are stopped after the test."""
    started: list[ValidatorProcess] = []

    def start(name: str = "validator", **settings: str) -> ValidatorProcess:
        process = ValidatorProcess(name, harness.bootstrap, tmp_path / f"{name}-{len(started)}.log", settings)
        started.append(process)
        return process

    yield start
    for process in started:
        await asyncio.to_thread(process.stop)
