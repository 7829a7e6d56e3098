"""A consumer that reads nothing although it should joins its group anew, and then gets time to read."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from services.chassis.kafka.consumer import STALLED_AFTER_S, Consumer
from services.chassis.runtime.settings import KafkaSettings

PLACE = TopicPartition("till.topic", 0)


class Clock:
    """Stands until it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Kafka:
    """A client with a partition, of which nothing more is known."""

    @staticmethod
    def assignment() -> set[TopicPartition]:
        return {PLACE}


class Nobody:
    """Handles nothing."""

    async def handle(self, poll: object) -> dict[TopicPartition, int]:
        raise AssertionError(poll)

    def on_revoked(self, partitions: object) -> None:
        raise AssertionError(partitions)


async def test_one_stall_is_not_followed_by_the_next_at_once() -> None:
    clock = Clock()
    consumer = Consumer(KafkaSettings(), Nobody(), group="stall", topics=["till.topic"], client_id="stall", clock=clock)
    consumer._detect_stall(Kafka())
    clock.now += STALLED_AFTER_S
    with pytest.raises(KafkaTimeoutError):
        consumer._detect_stall(Kafka())
    await consumer.on_partitions_assigned([PLACE])
    consumer._detect_stall(Kafka())
    clock.now += STALLED_AFTER_S
    assert not consumer.alive, "joining is no progress"
    with pytest.raises(KafkaTimeoutError):
        consumer._detect_stall(Kafka())
