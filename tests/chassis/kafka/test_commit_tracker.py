"""What may be committed: what was handled, of partitions that are assigned, and only while they are."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError

from services.chassis.kafka.commit_tracker import COMMIT_INTERVAL_S, CommitTracker

ONE, TWO = TopicPartition("chassis.topic", 1), TopicPartition("chassis.topic", 2)


class FakeKafka:
    """Takes commits, unless there is trouble."""

    def __init__(self, *assigned: TopicPartition) -> None:
        self.assigned = set(assigned)
        self.commits: list[dict[TopicPartition, int]] = []
        self.trouble: Exception | None = None

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        self.commits.append(dict(offsets))
        if self.trouble is not None:
            raise self.trouble


def records(*offsets: int) -> list[Any]:
    return [SimpleNamespace(offset=offset) for offset in offsets]


def offsets_of(poll: Any) -> dict[TopicPartition, list[int]]:
    return {partition: [record.offset for record in found] for partition, found in poll.items()}


@pytest.fixture
def tracker() -> CommitTracker:
    return CommitTracker("group", lambda: 0.0)


async def test_offsets_are_committed_once_and_only_of_assigned_partitions(tracker: CommitTracker) -> None:
    kafka = FakeKafka(ONE)
    tracker.add({ONE: 3, TWO: 9})
    await tracker.commit(kafka)
    await tracker.commit(kafka)
    assert kafka.commits == [{ONE: 3}]


async def test_a_commit_without_an_answer_is_repeated_and_a_rejected_one_is_not(tracker: CommitTracker) -> None:
    kafka = FakeKafka(ONE)
    for kafka.trouble in (KafkaConnectionError(), TimeoutError()):
        tracker.add({ONE: 3})
        await tracker.commit(kafka)
    kafka.trouble = CommitFailedError()
    await tracker.commit(kafka)
    await tracker.commit(kafka)
    assert kafka.commits == [{ONE: 3}] * 3


async def test_what_is_forgotten_is_not_committed(tracker: CommitTracker) -> None:
    kafka = FakeKafka(ONE)
    tracker.handled({ONE: records(0, 1, 2)}, {ONE: 1})
    tracker.clear()
    await tracker.commit(kafka)
    assert (kafka.commits, tracker.in_progress) == ([], {})


def test_records_that_the_handler_has_begun_and_not_finished_are_in_progress(tracker: CommitTracker) -> None:
    tracker.handled({ONE: records(4, 5, 6), TWO: records(0)}, {ONE: 5})
    assert offsets_of(tracker.in_progress) == {ONE: [5, 6], TWO: [0]}
    assert offsets_of(tracker.with_in_progress({ONE: records(7)})) == {ONE: [5, 6, 7], TWO: [0]}


def test_a_halted_partition_goes_back_to_what_was_handled(tracker: CommitTracker) -> None:
    tracker.handled({ONE: records(4, 5), TWO: records(7)}, {ONE: 5})
    assert tracker.rewind(ONE, default=4) == 5
    assert offsets_of(tracker.in_progress) == {TWO: [7]}
    assert tracker.rewind(TWO, default=7) == 7
    assert tracker.in_progress == {}
    assert tracker.rewind(ONE, default=None) == 5
    assert CommitTracker("group", lambda: 0.0).rewind(ONE, default=None) is None


async def test_a_commit_is_due_a_second_after_the_last() -> None:
    now = [0.0]
    tracker = CommitTracker("group", lambda: now[0])
    due = [tracker.is_due]
    now[0] += COMMIT_INTERVAL_S
    due.append(tracker.is_due)
    await tracker.commit(FakeKafka())
    due.append(tracker.is_due)
    assert due == [False, True, False]
