"""Reads topics from somewhere to the end that they have now."""

from collections.abc import AsyncGenerator, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.producer import connection_options
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import KafkaSettings


async def scan(
    settings: KafkaSettings, topics: Sequence[str], *, since_ms: int | None = None
) -> AsyncGenerator[ConsumerRecord, None]:
    """Every record that is there now, those of a partition in order; since a time if one is given. Raises `Away`."""
    install()
    # Without a group, naming topics assigns all their partitions to us.
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
        left = await _begin(kafka, since_ms)
        while left:
            for place, records in (await kafka.getmany(timeout_ms=200)).items():
                for record in records:
                    if record.offset < left.get(place, 0):
                        yield record
            left = {place: end for place, end in left.items() if await kafka.position(place) < end}
    except (KafkaError, OSError) as error:
        raise UnavailableError("Kafka") from error
    finally:
        await kafka.stop()


async def _begin(kafka: AIOKafkaConsumer, since_ms: int | None) -> dict[TopicPartition, int]:
    """Go where reading begins; returns the end of each partition that holds anything."""
    places = list(kafka.assignment())
    if not places:
        return {}
    begins, ends = await kafka.beginning_offsets(places), await kafka.end_offsets(places)
    if since_ms is not None:
        found = await kafka.offsets_for_times(dict.fromkeys(places, since_ms))
        begins = {place: ends[place] if found[place] is None else found[place].offset for place in places}
    for place in places:
        kafka.seek(place, begins[place])
    return {place: ends[place] for place in places if begins[place] < ends[place]}
