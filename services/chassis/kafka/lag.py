"""How far a member of a consumer group is behind."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from prometheus_client import Gauge

from services.chassis.runtime import metrics

RECORDS = metrics.gauge("consumer_lag_records", "Records not yet handled.", ["group", "topic", "partition"])
SECONDS = metrics.gauge(
    "consumer_lag_seconds", "Greatest age that a record that waits can have, 0 when caught up.", ["group"]
)

_NOTHING: Mapping[TopicPartition, Sequence[ConsumerRecord]] = {}


class Lag:
    """How far behind a member is, for the metrics."""

    def __init__(self, group: str, wall_clock: Callable[[], float]) -> None:
        self._group = group
        self._wall_clock = wall_clock
        self._gauges: dict[TopicPartition, Gauge] = {}
        self._read_up_to: dict[TopicPartition, float] = {}
        SECONDS.labels(group).set(0)

    def observe(self, poll: Mapping[TopicPartition, Sequence[ConsumerRecord]]) -> None:
        """Remember how old the newest record is that was read of each partition."""
        for place, records in poll.items():
            if records:
                self._read_up_to[place] = records[-1].timestamp / 1000

    def update(
        self, kafka: AIOKafkaConsumer, buffered: Mapping[TopicPartition, Sequence[ConsumerRecord]] = _NOTHING
    ) -> None:
        """Tell the metrics; what is `held_up` was read and waits for something that is away."""
        waiting = unread_records(kafka)
        now = self._wall_clock()
        # Where nothing waits, what comes later is younger than this moment, however old the record read last is.
        self._read_up_to |= dict.fromkeys((place for place, count in waiting.items() if not count), now)
        since = dict(self._read_up_to)
        for place, records in buffered.items():
            if records:
                waiting[place] = waiting.get(place, 0) + len(records)
                since[place] = records[0].timestamp / 1000
        for gone in self._gauges.keys() - waiting.keys():
            del self._gauges[gone]
            self._read_up_to.pop(gone, None)
            with suppress(KeyError):
                RECORDS.remove(self._group, gone.topic, str(gone.partition))
        for place, count in waiting.items():
            gauge = self._gauges.get(place)
            if gauge is None:
                gauge = self._gauges[place] = RECORDS.labels(self._group, place.topic, str(place.partition))
            gauge.set(count)
        # What waits is younger than what was read last, and than the last moment in which nothing waited.
        oldest = min((since[place] for place in waiting if waiting[place] and place in since), default=None)
        SECONDS.labels(self._group).set(0 if oldest is None else max(now - oldest, 0))


def unread_records(kafka: AIOKafkaConsumer) -> dict[TopicPartition, int]:
    """Records of each assigned partition that are known to be there and were not read."""
    waiting = {}
    for place in kafka.assignment():
        end, position = kafka.highwater(place), _position(kafka, place)
        if end is not None and position is not None:
            waiting[place] = max(end - position, 0)
    return waiting


def _position(kafka: AIOKafkaConsumer, place: TopicPartition) -> int | None:
    subscription = kafka._subscription.subscription  # noqa: SLF001 - position() may block
    state = subscription.assignment.state_value(place) if subscription and subscription.assignment else None
    return state.position if state is not None and state.has_valid_position else None


def is_caught_up(kafka: AIOKafkaConsumer) -> bool:
    """Whether every assigned partition is known to be read as far as it may be; False where there is none.

    That is to its end, unless a transaction is open there.
    """
    waiting, assigned = unread_records(kafka), kafka.assignment()
    return (
        bool(assigned)
        and len(waiting) == len(assigned)
        and all(
            not count or _position(kafka, place) == kafka.last_stable_offset(place) for place, count in waiting.items()
        )
    )
