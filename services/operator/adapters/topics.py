"""Asks the brokers for topics and consumer groups; questions are rare, so each opens its own connections."""

from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from aiokafka import AIOKafkaConsumer

from services.chassis.kafka.group_progress import Brokers, Offsets, query_brokers
from services.chassis.kafka.topic import Cleanup, Topic
from services.chassis.runtime.settings import KafkaSettings
from services.operator.domain.topic import GroupLag, PartitionView, TopicView
from services.topics import CONSUMER_GROUPS, TOPICS

RATE_WINDOW_S = 60
# For the oldest unread records of a group, all partitions together.
OLDEST_TIMEOUT_S = 3.0


class KafkaTopics:
    """The `Topics` of a cluster."""

    def __init__(self, settings: KafkaSettings, *, now_us: Callable[[], int], topics: Sequence[Topic] = TOPICS) -> None:
        """`now_us` is the brokers' time, by which they stamp records."""
        self._settings, self._now_us, self._topics = settings, now_us, topics

    async def describe(self) -> Sequence[TopicView]:
        async with query_brokers(self._settings, client_id="operator") as brokers:
            existing = set(await brokers.admin.list_topics())
            partitions = await brokers.partitions([each.name for each in self._topics if each.name in existing])
            begins: Offsets = await brokers.consumer.beginning_offsets(partitions)
            ends: Offsets = await brokers.consumer.end_offsets(partitions)
            window_start_ms = self._now_us() // 1_000 - RATE_WINDOW_S * 1_000
            recent = await brokers.end_offsets_before(partitions, window_start_ms)
            lags = await _read_lags(brokers, self._topics, begins, ends)
        return [
            _to_view(topic, begins, ends, recent, lags.get(topic.name, ()))
            if topic.name in existing
            else TopicView(name=topic.name, description=topic.description, exists=False)
            for topic in self._topics
        ]


def _to_view(topic: Topic, begins: Offsets, ends: Offsets, recent: Offsets, groups: Sequence[GroupLag]) -> TopicView:
    partitions = sorted(partition for partition in ends if partition.topic == topic.name)
    return TopicView(
        name=topic.name,
        description=topic.description,
        exists=True,
        records=sum(ends[each] - begins[each] for each in partitions),
        records_per_s=sum(ends[each] - recent[each] for each in partitions) / RATE_WINDOW_S,
        partitions=[PartitionView(number=each.partition, begin=begins[each], end=ends[each]) for each in partitions],
        groups=groups,
    )


async def _read_lags(
    brokers: Brokers, topics: Sequence[Topic], begins: Offsets, ends: Offsets
) -> Mapping[str, Sequence[GroupLag]]:
    """Return the lag of each topic's consumer groups."""
    lags: dict[str, list[GroupLag]] = {}
    for group in CONSUMER_GROUPS:
        committed = await brokers.admin.list_consumer_group_offsets(group)
        for topic in topics:
            # Compacted topics are read as tables, without a group.
            if group not in topic.read_by or topic.cleanup is not Cleanup.DELETE:
                continue
            positions = {
                partition: max(begins[partition], committed[partition].offset if partition in committed else 0)
                for partition in ends
                if partition.topic == topic.name
            }
            unread = {partition: offset for partition, offset in positions.items() if offset < ends[partition]}
            lags.setdefault(topic.name, []).append(
                GroupLag(
                    group=group,
                    lag=sum(ends[partition] - offset for partition, offset in unread.items()),
                    oldest_unread_us=await _find_oldest_us(brokers.consumer, unread),
                )
            )
    return lags


async def _find_oldest_us(consumer: AIOKafkaConsumer, unread: Offsets) -> int | None:
    """Return the time of the oldest record at these offsets; None if no record is found in time."""
    if not unread:
        return None
    consumer.assign(list(unread))
    for partition, offset in unread.items():
        consumer.seek(partition, offset)
    missing, oldest_ms = set(unread), None
    deadline = monotonic() + OLDEST_TIMEOUT_S
    while missing and (left_s := deadline - monotonic()) > 0:
        found = await consumer.getmany(*missing, timeout_ms=int(left_s * 1_000), max_records=1)
        for partition, records in found.items():
            missing.discard(partition)
            oldest_ms = min(records[0].timestamp, oldest_ms or records[0].timestamp)
    return None if oldest_ms is None else oldest_ms * 1_000
