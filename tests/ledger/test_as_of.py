"""Up to which instant reports are complete."""

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.chassis.runtime.metrics import REGISTRY
from services.chassis.runtime.settings import KafkaSettings
from services.ledger.adapters import as_of as module
from services.ledger.adapters.as_of import AsOf

PARTITIONS = 2
SUBMITTED = [TopicPartition("submitted", number) for number in range(PARTITIONS)]
VALIDATED = [TopicPartition("validated", number) for number in range(PARTITIONS)]


class FakeCluster:
    """Records on their way: submitted, validated, recorded; each is the instant at which it was accepted."""

    def __init__(self) -> None:
        self.now_us = 1
        self.logs: dict[TopicPartition, list[int]] = {partition: [] for partition in [*SUBMITTED, *VALIDATED]}
        self.committed = dict.fromkeys(self.logs, 0)

    @property
    def consumer(self) -> "FakeCluster":
        """Return what answers questions about offsets."""
        return self

    async def partitions(self, topics: Sequence[str]) -> list[TopicPartition]:
        return [partition for partition in self.logs if partition.topic in topics]

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {partition: len(self.logs[partition]) for partition in partitions}

    async def has_consumed(self, group: str, needed: Mapping[TopicPartition, int]) -> bool:
        assert {partition.topic for partition in needed} == {{"validator": "submitted", "ledger": "validated"}[group]}
        return all(self.committed[partition] >= offset for partition, offset in needed.items())

    def accept(self, number: int) -> None:
        self.logs[SUBMITTED[number]].append(self.now_us)

    def validate(self, number: int, target: int) -> None:
        """Move the next record of a partition on, if there is one."""
        source = SUBMITTED[number]
        if self.committed[source] < len(self.logs[source]):
            self.logs[VALIDATED[target]].append(self.logs[source][self.committed[source]])
            self.committed[source] += 1

    def record(self, number: int) -> None:
        partition = VALIDATED[number]
        self.committed[partition] = min(self.committed[partition] + 1, len(self.logs[partition]))

    def in_flight(self) -> list[int]:
        """The records that are not recorded yet."""
        return [at for partition, log in self.logs.items() for at in log[self.committed[partition] :]]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    cluster = FakeCluster()

    @asynccontextmanager
    async def query_brokers(*_: Any, **__: Any) -> AsyncIterator[FakeCluster]:
        yield cluster

    monkeypatch.setattr(module, "query_brokers", query_brokers)
    return cluster


def an_as_of(cluster: FakeCluster) -> AsOf:
    return AsOf(
        KafkaSettings.model_validate({"kafka_bootstrap_servers": "127.0.0.1:1"}),
        upstream=("validator", ["submitted"]),
        own=("ledger", ["validated"]),
        client_id="ledger",
        now_us=lambda: cluster.now_us,
    )


@pytest.mark.parametrize("seed", range(50))
async def test_everything_accepted_before_that_instant_is_recorded(cluster: FakeCluster, seed: int) -> None:
    chance, as_of = random.Random(seed), an_as_of(cluster)  # noqa: S311 - repeatable
    for _ in range(300):
        cluster.now_us += 1
        number, target = chance.randrange(PARTITIONS), chance.randrange(PARTITIONS)
        match chance.randrange(4):
            case 0:
                cluster.accept(number)
            case 1:
                cluster.validate(number, target)
            case 2:
                cluster.record(number)
            case _:
                await as_of.refresh()
                # Acknowledged before that instant: a record of the same microsecond may be missing.
                assert as_of.us is None or all(at >= as_of.us for at in cluster.in_flight())


async def test_it_is_unknown_first_and_follows_when_everything_is_recorded(cluster: FakeCluster) -> None:
    as_of = an_as_of(cluster)

    async def refreshed() -> int | None:
        await as_of.refresh()
        return as_of.us

    cluster.accept(0)
    assert await refreshed() is None
    cluster.now_us = 2_000_001
    cluster.validate(0, 1)
    assert await refreshed() is None
    cluster.record(1)
    assert await refreshed() == 1
    assert REGISTRY.get_sample_value("ledger_as_of_age_seconds") == 2
    assert await refreshed() == 2_000_001
