"""A Kafka with our topics, for processes that use them by their real names."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from sandbox.kafka import KafkaCluster
from services.cli import topic_admin
from services.cli.settings import CliSettings
from services.topics import TOPICS
from tests.events.harness import Installation, ValidatorProcess


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Topics cannot be renamed, so that each module has a broker to itself."""
    with KafkaCluster(tmp_path_factory.mktemp("events-kafka")) as cluster:
        yield cluster.bootstrap_servers


@pytest.fixture(scope="module")
async def installation(broker: str) -> Installation:
    """All topics, with four partitions each, and a few products of site 608."""
    settings = CliSettings(kafka_bootstrap_servers=broker, topic_partitions=4)
    await topic_admin.create(TOPICS, settings)
    made = Installation(broker)
    made.sell("4556", "4557")
    return made


StartValidator = Callable[..., ValidatorProcess]


@pytest.fixture
async def start_validator(installation: Installation, tmp_path: Path) -> AsyncIterator[StartValidator]:
    """Starts validators; those that still run at the end of the test are stopped."""
    started: list[ValidatorProcess] = []

    def start(name: str = "validator", **settings: str) -> ValidatorProcess:
        process = ValidatorProcess(name, installation.bootstrap, tmp_path / f"{name}-{len(started)}.log", settings)
        started.append(process)
        return process

    yield start
    for process in started:
        await asyncio.to_thread(process.stop)
