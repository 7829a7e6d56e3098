"""Reads topics from a start position to their current end."""

from collections.abc import AsyncGenerator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.producer import connection_options
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import KafkaSettings


async def read_to_end(
    settings: KafkaSettings, topics: Sequence[str], *, since_ms: int | None = None
) -> AsyncGenerator[ConsumerRecord, None]:
    """Yield all records up to the ends at the time of the call, optionally only those since a timestamp.

    Records of one partition come in order. Raises `UnavailableError`.
    """
    install()
    # Without a consumer group, naming topics assigns all of their partitions.
    kafka = AIOKafkaConsumer(
        *topics,
        **connection_options(settings),
        client_id="operator",
        group_id=None,
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
    )
    try:
        await kafka.start()
        ends = await _seek_to_start(kafka, since_ms)
        while ends:
            for partition, records in (await kafka.getmany(timeout_ms=200)).items():
                for record in records:
                    if record.offset < ends.get(partition, 0):
                        yield record
            ends = {partition: end for partition, end in ends.items() if await kafka.position(partition) < end}
    except (KafkaError, OSError) as error:
        raise UnavailableError("Kafka") from error
    finally:
        await kafka.stop()


async def _seek_to_start(kafka: AIOKafkaConsumer, since_ms: int | None) -> dict[TopicPartition, int]:
    """Seek every partition to its start; return the end offsets of those that have records to read."""
    partitions = list(kafka.assignment())
    if not partitions:
        return {}
    starts, ends = await kafka.beginning_offsets(partitions), await kafka.end_offsets(partitions)
    if since_ms is not None:
        found = await kafka.offsets_for_times(dict.fromkeys(partitions, since_ms))
        starts = {tp: ends[tp] if found[tp] is None else found[tp].offset for tp in partitions}
    for partition in partitions:
        kafka.seek(partition, starts[partition])
    return {partition: ends[partition] for partition in partitions if starts[partition] < ends[partition]}
