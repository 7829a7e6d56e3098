"""A consumer that reads nothing although it should rejoins its group, and then gets time to read."""

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from services.chassis.kafka.consumer import Consumer
from services.chassis.kafka.stall_detector import STALL_TIMEOUT_S, StallDetector
from services.chassis.runtime.settings import KafkaSettings

PARTITION = TopicPartition("chassis.topic", 0)
TOPICS = [PARTITION.topic]


class Clock:
    """Stands still until it is moved."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class FakeKafka:
    """A client with these partitions, of these topics."""

    def __init__(self, *assigned: TopicPartition, topics: tuple[str, ...] = ()) -> None:
        self._assigned = set(assigned)
        self._topics = topics

    def assignment(self) -> set[TopicPartition]:
        return self._assigned

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0} if topic in self._topics else None


class UnusedHandler:
    """Fails if it is used."""

    async def handle(self, poll: object) -> dict[TopicPartition, int]:
        raise AssertionError(poll)

    def on_revoked(self, partitions: object) -> None:
        raise AssertionError(partitions)


async def test_one_stall_is_not_followed_by_the_next_at_once() -> None:
    clock = Clock()
    consumer = Consumer(KafkaSettings(), UnusedHandler(), group="stall", topics=TOPICS, client_id="stall", clock=clock)
    consumer._stalls.check(FakeKafka(PARTITION), TOPICS)
    clock.now += STALL_TIMEOUT_S
    with pytest.raises(KafkaTimeoutError):
        consumer._stalls.check(FakeKafka(PARTITION), TOPICS)
    await consumer.on_partitions_assigned([PARTITION])
    consumer._stalls.check(FakeKafka(PARTITION), TOPICS)
    clock.now += STALL_TIMEOUT_S
    assert not consumer.alive, "joining is no progress"
    with pytest.raises(KafkaTimeoutError):
        consumer._stalls.check(FakeKafka(PARTITION), TOPICS)


@pytest.mark.parametrize(("session_s", "timeout_s"), [(6.0, 60.0), (45.0, 75.0)])
def test_a_stall_takes_longer_than_a_session(session_s: float, timeout_s: float) -> None:
    clock = Clock()
    stalls = StallDetector(clock, session_timeout_s=session_s)
    clock.now += timeout_s - 1
    assert not stalls.is_stalled
    clock.now += 1
    assert stalls.is_stalled


def test_both_the_loop_and_its_progress_count() -> None:
    clock = Clock()
    stalls = StallDetector(clock, session_timeout_s=6.0)
    for only in (stalls.loop, stalls.progress):
        clock.now += STALL_TIMEOUT_S
        only()
        assert stalls.is_stalled
    stalls.loop()
    assert not stalls.is_stalled


def test_a_member_without_partitions_joins_anew_only_where_its_topics_have_come_meanwhile() -> None:
    """Where there are topics, there are more members than partitions, and that is no stall."""
    clock = Clock()
    stalls = StallDetector(clock, session_timeout_s=6.0)
    clock.now += STALL_TIMEOUT_S
    stalls.loop()
    stalls.check(FakeKafka(topics=(PARTITION.topic,)), TOPICS)
    assert not stalls.is_stalled
    clock.now += STALL_TIMEOUT_S
    with pytest.raises(KafkaTimeoutError):
        stalls.check(FakeKafka(), TOPICS)
    stalls.loop()
    assert not stalls.is_stalled
