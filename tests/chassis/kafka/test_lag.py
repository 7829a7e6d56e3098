"""The lag that a consumer reports."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from services.chassis.kafka import lag
from services.chassis.kafka.lag import LOST, Lag, seek_to_earliest

PARTITION = TopicPartition("till.topic", 3)


@dataclass(slots=True)
class FakeKafka:
    """A client with one partition."""

    end: int = 0
    position: int = 0

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}


@dataclass(slots=True)
class LagHarness:
    """A lag with a fixed clock."""

    kafka: FakeKafka
    now: float = 1_000.0
    lag: Any = field(init=False)

    def __post_init__(self) -> None:
        self.lag = Lag("lag-test", lambda: self.now)

    def read(self, *, at: float) -> None:
        self.lag.observe({PARTITION: [SimpleNamespace(timestamp=at * 1000)]})

    def measured(self, buffered: Any = None) -> tuple[float, float]:
        """Update the metrics; return records and seconds."""
        if buffered is None:
            self.lag.update(self.kafka)
        else:
            self.lag.update(self.kafka, buffered)
        records = lag.RECORDS.labels("lag-test", PARTITION.topic, str(PARTITION.partition))
        return records._value.get(), lag.SECONDS.labels("lag-test")._value.get()


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> LagHarness:
    made = LagHarness(FakeKafka())
    monkeypatch.setattr(lag, "unread_records", lambda kafka: {PARTITION: kafka.end - kafka.position})
    return made


def test_who_has_read_all_is_not_behind(harness: LagHarness) -> None:
    harness.read(at=10)
    assert harness.measured() == (0, 0)


def test_who_reads_old_records_is_as_far_behind_as_they_are_old(harness: LagHarness) -> None:
    harness.kafka.end = 50
    harness.read(at=400)
    assert harness.measured() == (50, 600)


def test_a_record_after_a_long_pause_is_as_young_as_the_pause_is_over(harness: LagHarness) -> None:
    """The record before it may be hours old; that is nobody's fault."""
    harness.read(at=10)
    harness.measured()
    harness.now += 2
    harness.kafka.end = 1
    assert harness.measured() == (1, 2)


def test_what_waits_for_a_dependency_counts_from_its_own_time(harness: LagHarness) -> None:
    held_up = {PARTITION: [SimpleNamespace(timestamp=970_000), SimpleNamespace(timestamp=990_000)]}
    assert harness.measured(held_up) == (2, 30)
    harness.now += 10
    assert harness.measured(held_up) == (2, 40)
    harness.read(at=990)
    assert harness.measured() == (0, 0)


HANGING = TopicPartition("hanging", 0)


class _HangingKafka:
    """Knows the beginning of the log; never answers which offset is committed."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 30)

    async def committed(self, _: TopicPartition) -> int | None:
        self.asked.set()
        await asyncio.Event().wait()
        return None

    def seek(self, _: TopicPartition, __: int) -> None: ...


async def test_a_loss_is_not_counted_when_its_offset_cannot_be_committed() -> None:
    """A consumer that is stopped meanwhile would count it again after its restart."""
    kafka, lost = _HangingKafka(), LOST.labels("hanging")._value
    before = lost.get()
    seeking = asyncio.create_task(seek_to_earliest(kafka, {HANGING: 10}, group="g"))
    await kafka.asked.wait()
    seeking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await seeking
    assert lost.get() == before
