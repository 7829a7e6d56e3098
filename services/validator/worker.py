"""Kafka's face of the validator: polls in, committable offsets out."""

from collections.abc import Collection

from aiokafka import ConsumerRecord, TopicPartition

from services import topics
from services.chassis.consumer import Offsets, Poll
from services.validator.domain.submitted import Submitted
from services.validator.flow import World, judge

KINDS = {topics.ORDERS_SUBMITTED.name: "orders", topics.RETURNS_SUBMITTED.name: "returns"}


class Worker:
    """Judges what each poll brings."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def handle(self, poll: Poll) -> Offsets:
        """Judge all records of the poll; every verdict is acknowledged when this returns. Raises `Away`."""
        if poll:
            await judge([_submitted(record) for records in poll.values() for record in records], self._world)
        return {place: records[-1].offset + 1 for place, records in poll.items() if records}

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is held back between polls."""


def _submitted(record: ConsumerRecord) -> Submitted:
    return Submitted(
        KINDS[record.topic],
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
    )
