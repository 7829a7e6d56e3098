"""How far a member of a consumer group is behind, and what retention deleted before it was read."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from prometheus_client import Gauge

from services.chassis.runtime import metrics
from services.chassis.runtime.logs import logger

RECORDS = metrics.gauge("consumer_lag_records", "Records not yet processed.", ["group", "topic", "partition"])
SECONDS = metrics.gauge(
    "consumer_lag_seconds", "Maximum age that an unprocessed record can have, 0 when caught up.", ["group"]
)
LOST = metrics.counter(
    "consumer_lost_records_total", "Records that retention deleted before they were read.", ["topic"]
)
_LOG = logger(__name__)


class Lag:
    """Reports the lag of one member as metrics."""

    def __init__(self, group: str, wall_clock: Callable[[], float]) -> None:
        self._group = group
        self._wall_clock = wall_clock
        self._gauges: dict[TopicPartition, Gauge] = {}
        self._read_up_to: dict[TopicPartition, float] = {}
        SECONDS.labels(group).set(0)

    def observe(self, poll: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Remember the timestamp of the newest record read from each partition."""
        for partition, records in poll.items():
            if records:
                self._read_up_to[partition] = records[-1].timestamp / 1000

    def update(
        self, kafka: AIOKafkaConsumer, buffered: Mapping[TopicPartition, Sequence[ConsumerRecord]] | None = None
    ) -> None:
        """Update the metrics; `buffered` records were read and wait for an unavailable dependency."""
        unread = unread_records(kafka)
        now = self._wall_clock()
        # Where nothing is unread, later records are younger than now, however old the last one is.
        self._read_up_to |= dict.fromkeys((partition for partition, count in unread.items() if not count), now)
        since = dict(self._read_up_to)
        for partition, records in (buffered or {}).items():
            if records:
                unread[partition] = unread.get(partition, 0) + len(records)
                since[partition] = records[0].timestamp / 1000
        for revoked in self._gauges.keys() - unread.keys():
            del self._gauges[revoked]
            self._read_up_to.pop(revoked, None)
            with suppress(KeyError):
                RECORDS.remove(self._group, revoked.topic, str(revoked.partition))
        for partition, count in unread.items():
            gauge = self._gauges.get(partition)
            if gauge is None:
                labels = (self._group, partition.topic, str(partition.partition))
                gauge = self._gauges[partition] = RECORDS.labels(*labels)
            gauge.set(count)
        # Unread records are younger than the last one read, and than the last moment without unread records.
        oldest = min(
            (since[partition] for partition in unread if unread[partition] and partition in since), default=None
        )
        SECONDS.labels(self._group).set(0 if oldest is None else max(now - oldest, 0))


def unread_records(kafka: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Return how many records of each assigned partition are known to exist and were not read."""
    unread = {}
    for partition in kafka.assignment():
        end, position = kafka.highwater(partition), _position(kafka, partition)
        if end is not None and position is not None:
            unread[partition] = max(end - position, 0)
    return unread


def _position(kafka: AIOKafkaConsumer, partition: TopicPartition) -> int | None:
    subscription = kafka._subscription.subscription  # noqa: SLF001 - position() may block
    state = subscription.assignment.state_value(partition) if subscription and subscription.assignment else None
    return state.position if state is not None and state.has_valid_position else None


def is_caught_up(kafka: AIOKafkaConsumer) -> bool:
    """Whether partitions are assigned and each is read to its end, or up to an open transaction."""
    unread, assigned = unread_records(kafka), kafka.assignment()
    return (
        bool(assigned)
        and len(unread) == len(assigned)
        and all(
            not count or _position(kafka, partition) == kafka.last_stable_offset(partition)
            for partition, count in unread.items()
        )
    )


async def seek_to_earliest(
    kafka: AIOKafkaConsumer, positions: Mapping[TopicPartition, int | None], *, group: str
) -> dict[TopicPartition, int]:
    """Seek to the earliest record where the position, None if nothing was committed, does not exist.

    The records in between are counted and logged. Returns the new positions that may be committed, so that a loss is
    reported once: those of partitions where no earlier record is still being processed.
    """
    beginnings = await kafka.beginning_offsets(list(positions))
    committed = {partition: await kafka.committed(partition) for partition in positions}
    # Nothing is awaited from here on: a loss that is counted is also returned, even while the consumer is stopped.
    committable = {}
    for partition, beginning in beginnings.items():
        position = positions[partition]
        kafka.seek(partition, beginning)
        if position is None:
            continue
        where = {"group": group, "topic": partition.topic, "partition": partition.partition}
        if position > beginning:
            # The brokers lost records that were acknowledged, or the topic was created again.
            _LOG.error("offset beyond the end of the log", **where, offset=position)
            continue
        LOST.labels(partition.topic).inc(beginning - position)
        _LOG.error("records lost to retention", **where, records=beginning - position)
        if committed[partition] == position:
            committable[partition] = beginning
    return committable
