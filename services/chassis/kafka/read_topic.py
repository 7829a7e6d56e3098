"""Reads topics from a start position to their current end."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.connection_options import connection_options
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import KafkaSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRange:
    """Where to begin: everywhere at the first record, unless a bound says otherwise.

    `since_ms` is a timestamp; `starts` names the only partitions to read, with their first offsets; `newest` is the
    number of records to read at most, of all partitions together, the newest ones of each.
    """

    since_ms: int | None = None
    starts: Mapping[TopicPartition, int] | None = None
    newest: int | None = None


ALL = ReadRange()


async def read_to_end(
    settings: KafkaSettings, topics: Sequence[str], read_range: ReadRange = ALL
) -> AsyncGenerator[ConsumerRecord, None]:
    """Yield the records of the range up to the ends at the time of the call.

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
        ends = await _seek_to_start(kafka, read_range)
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


async def _seek_to_start(kafka: AIOKafkaConsumer, read_range: ReadRange) -> dict[TopicPartition, int]:
    """Seek every partition to its start; return the end offsets of those that have records to read."""
    partitions = list(kafka.assignment())
    if not partitions:
        return {}
    starts, ends = await kafka.beginning_offsets(partitions), await kafka.end_offsets(partitions)
    if read_range.since_ms is not None:
        found = await kafka.offsets_for_times(dict.fromkeys(partitions, read_range.since_ms))
        starts = {tp: ends[tp] if found[tp] is None else found[tp].offset for tp in partitions}
    if read_range.starts is not None:
        starts = {tp: max(starts[tp], read_range.starts.get(tp, ends[tp])) for tp in partitions}
    if read_range.newest is not None:
        counts = share_evenly({tp: ends[tp] - starts[tp] for tp in partitions}, read_range.newest)
        starts = {tp: ends[tp] - counts[tp] for tp in partitions}
    for partition in partitions:
        kafka.seek(partition, starts[partition])
    return {partition: ends[partition] for partition in partitions if starts[partition] < ends[partition]}


def share_evenly(wanted: Mapping[TopicPartition, int], available: int) -> dict[TopicPartition, int]:
    """Divide what is available: what one partition does not need is for the others."""
    shares: dict[TopicPartition, int] = {}
    for position, partition in enumerate(sorted(wanted, key=lambda each: wanted[each])):
        shares[partition] = min(wanted[partition], available // (len(wanted) - position))
        available -= shares[partition]
    return shares
