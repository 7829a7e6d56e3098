"""Publishes the events that status itself writes."""

from collections.abc import Sequence

from services.chassis.kafka.producer import Producer, ProducerRecord
from services.jobs.events import JobHeader
from services.status.domain.job import Job
from services.status.ports import ExpiryPublisher, FinishedPublisher
from services.status.wire import EventCodec, FinishedCodec


class KafkaPublisher(ExpiryPublisher):
    """Publishes to the topic that status itself consumes, so that expiry has its place among the other events."""

    def __init__(self, producer: Producer, codec: EventCodec, *, topic: str) -> None:
        self._producer = producer
        self._codec = codec
        self._topic = topic

    async def publish_expired(self, jobs: Sequence[JobHeader], *, at_us: int) -> None:
        events = [ProducerRecord(*self._codec.encode_expired(header, at_us=at_us)) for header in jobs]
        await self._producer.send_by_key(self._topic, events)


class KafkaFinishedPublisher(FinishedPublisher):
    """Publishes that jobs have ended, for everybody else."""

    def __init__(self, producer: Producer, codec: FinishedCodec, *, topic: str) -> None:
        self._producer = producer
        self._codec = codec
        self._topic = topic

    async def publish_finished(self, jobs: Sequence[Job]) -> None:
        await self._producer.send_by_key(self._topic, [ProducerRecord(*self._codec.encode(job)) for job in jobs])
