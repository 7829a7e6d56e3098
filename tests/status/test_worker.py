"""Polls in, offsets out: nothing is committed before it is durable."""

from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.brake import Brake
from services.chassis.deadletter import DeadLetter
from services.chassis.errors import Away
from services.status.avro import EventReader
from services.status.domain.facts import JobEvent, Key
from services.status.domain.job import Change
from services.status.flow import World
from services.status.ports import TooBig
from services.status.worker import Worker
from tests.status.encoded import SCHEMAS, as_bytes
from tests.status.events import JOB, a_header, a_run, judged, opened
from tests.status.memory import Belfry, MemoryJobs, MemoryOrigins

PLACE, OTHER = TopicPartition("jobs.events.v1", 0), TopicPartition("jobs.events.v1", 1)


def a_record(value: bytes | None, offset: int) -> ConsumerRecord:
    return ConsumerRecord(PLACE.topic, 0, offset, 0, 0, b"608|x", value, None, 0, 0, ())


def a_poll(*events: JobEvent | bytes, start: int = 0) -> dict[TopicPartition, list[ConsumerRecord]]:
    values = [event if isinstance(event, bytes) else as_bytes(event) for event in events]
    return {PLACE: [a_record(value, start + at) for at, value in enumerate(values)]}


class JournalledJobs(MemoryJobs):
    """Writes down what it did; away while it is told to be."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__(fails=lambda: self.failing)
        self.failing = ""
        self.too_big: Key | None = None
        self._journal = journal

    async def write(self, changes: Sequence[Change]) -> frozenset[Key]:
        if any(change.job.key == self.too_big for change in changes):
            raise TooBig("the job would be larger than a document may be")
        lost = await super().write(changes)
        self._journal += [f"{change.job.state.value} v{change.job.version}" for change in changes]
        return lost


class Box:
    """Writes down whose letters it took."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.away = False

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        if self.away:
            raise Away("Kafka")
        self._journal += [f"dead {letter.record.offset}: {letter.reason}" for letter in letters]


class Bench:
    """A worker, and one journal for all that it causes."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.jobs = JournalledJobs(self.journal)
        self.box = Box(self.journal)
        self.brake = Brake(most_in_row=6, window=100, share=0.5)
        self.clock_s = 0.0
        self.worker = Worker(
            World(jobs=self.jobs, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0),
            reader=EventReader(SCHEMAS),
            dead_letters=self.box,
            brake=self.brake,
            linger_s=0.05,
            clock_s=lambda: self.clock_s,
        )

    async def handle(self, poll: Any) -> None:
        offsets = await self.worker.handle(poll)
        self.journal += [f"commit {offset}" for offset in offsets.values()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_nothing_is_committed_before_it_is_written(bench: Bench) -> None:
    """I7: the committed offset is never ahead of the durable effect."""
    await bench.handle(a_poll(opened(), judged(a_run("SF"))))
    assert bench.journal == ["COMPLETED_WITH_WARNING v1", "commit 2"]


async def test_an_opened_job_is_held_back_for_its_verdicts(bench: Bench) -> None:
    await bench.handle(a_poll(opened()))
    assert bench.journal == ["commit 0"]
    await bench.handle(a_poll(judged(a_run("SS")), start=1))
    assert bench.journal == ["commit 0", "COMPLETED v1", "commit 2"]


async def test_an_opened_job_is_not_held_back_for_long(bench: Bench) -> None:
    await bench.handle(a_poll(opened()))
    await bench.handle({})
    assert bench.journal == ["commit 0"]
    bench.clock_s = 0.051
    await bench.handle({})
    assert bench.journal == ["commit 0", "RECEIVED v1", "commit 1"]
    await bench.handle({})
    await bench.handle(a_poll(judged(a_run("SS")), start=1))
    assert bench.journal[3:] == ["COMPLETED v2", "commit 2"]


async def test_other_jobs_do_not_wait_for_the_one_held_back(bench: Bench) -> None:
    other = a_header(1, key=Key(608, "00000000-0167-11ee-b91c-b9178e343914"))
    await bench.handle(a_poll(opened(), opened(other), judged(a_run("S"), other)))
    assert bench.journal == ["COMPLETED v1", "commit 0"]


async def test_a_job_of_refused_records_only_is_written_at_once(bench: Bench) -> None:
    await bench.handle(a_poll(opened(refused=a_run("FF"))))
    assert bench.journal == ["FAILED v1", "commit 1"]


async def test_a_held_event_survives_that_the_store_is_away(bench: Bench) -> None:
    await bench.handle(a_poll(opened()))
    poll = a_poll(judged(a_run("SS")), start=1)
    bench.jobs.failing = "before"
    with pytest.raises(Away):
        await bench.handle(poll)
    bench.jobs.failing = ""
    await bench.handle(poll)
    assert bench.journal == ["commit 0", "COMPLETED v1", "commit 2"]


async def test_a_write_whose_answer_was_lost_is_not_done_twice(bench: Bench) -> None:
    poll = a_poll(opened(), judged(a_run("SF")))
    bench.jobs.failing = "after"
    with pytest.raises(Away):
        await bench.handle(poll)
    bench.jobs.failing = ""
    await bench.handle(poll)
    assert bench.jobs.writes == 1
    assert bench.journal[-1] == "commit 2"


async def test_what_is_held_of_a_lost_partition_is_forgotten(bench: Bench) -> None:
    await bench.handle(a_poll(opened()))
    bench.worker.revoked([PLACE])
    bench.clock_s = 1.0
    await bench.handle({})
    assert bench.journal == ["commit 0"]


async def test_poison_is_put_aside_and_the_partition_goes_on(bench: Bench) -> None:
    good = as_bytes(opened(refused=a_run("FF")))
    poison = [b"", b"\x00", good[:-1], good + b"\x00", b"\x00\x00\x00\x00\x09abc", b"\x01" + good[1:]]
    await bench.handle(a_poll(*poison, good))
    assert bench.journal == [
        "dead 0: unknown-framing",
        "dead 1: unknown-framing",
        "dead 2: undecodable",
        "dead 3: undecodable",
        "dead 4: unknown-schema",
        "dead 5: unknown-framing",
        "FAILED v1",
        "commit 7",
    ]


async def test_poison_is_not_committed_before_it_is_safe(bench: Bench) -> None:
    bench.box.away = True
    with pytest.raises(Away):
        await bench.handle(a_poll(b""))
    bench.box.away = False
    await bench.handle(a_poll(b""))
    assert bench.journal == ["dead 0: unknown-framing", "commit 1"]


async def test_a_partition_full_of_poison_is_stopped_in_front_of_the_one_too_many(bench: Bench) -> None:
    good = as_bytes(opened(refused=a_run("FF")))
    poll = a_poll(good, *[b""] * 8)
    bench.box.away = True
    with pytest.raises(Away):
        await bench.handle(poll)
    bench.box.away = False
    await bench.handle(poll)
    assert bench.journal == [*(f"dead {at}: unknown-framing" for at in range(1, 7)), "FAILED v1", "commit 7"]
    assert set(bench.brake.stopped) == {PLACE}
    await bench.handle(a_poll(b"", good, start=7))
    assert len(bench.journal) == 8, "it goes on"
    bench.worker.revoked([PLACE])
    assert not bench.brake.stopped


async def test_a_job_that_cannot_be_kept_is_put_aside_and_the_others_go_on(bench: Bench) -> None:
    """Or the same poll would come again for ever."""
    big, small = a_header(key=Key(608, JOB.job_id)), a_header(key=Key(609, JOB.job_id))
    bench.jobs.too_big = big.key
    await bench.handle(a_poll(opened(big), opened(small), judged(a_run("SS"), big), judged(a_run("SS"), small)))
    assert bench.journal == ["dead 0: too-big", "dead 2: too-big", "RECEIVED v1", "COMPLETED v2", "commit 4"]
