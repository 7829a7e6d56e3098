"""Records that retention took before they were read: their loss is seen by where a group wants to go on."""

from collections.abc import Collection

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.chassis.runtime import metrics
from services.chassis.runtime.logs import logger

LOST = metrics.counter("consumer_lost_records_total", "Records that retention took before they were read.", ["topic"])

_LOG = logger(__name__)


async def detect_retention_loss(kafka: AIOKafkaConsumer, assigned: Collection[TopicPartition], *, group: str) -> None:
    """Count and log what lies between the group's committed offsets and the first that are still there."""
    begins = await kafka.beginning_offsets(list(assigned))
    for place, begin in begins.items():
        left_at = await kafka.committed(place)
        if left_at is not None and left_at < begin:
            LOST.labels(place.topic).inc(begin - left_at)
            _LOG.error(
                "records are lost: retention took them before they were read",
                group=group,
                topic=place.topic,
                partition=place.partition,
                records=begin - left_at,
            )
