"""Polls in, offsets out: nothing is committed before it is durable."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.brake import Brake
from services.chassis.deadletter import DeadLetter
from services.chassis.errors import Away
from services.status import metrics, worker
from services.status.avro import EventReader
from services.status.domain.facts import Header, JobEvent, Key
from services.status.domain.job import Change, Standing, State
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
        self.away_for: Key | None = None
        self.cancelled_for: Key | None = None
        self.defect: Exception | None = None
        self.guesses = self.reads = self.most_at_once = 0
        self._journal = journal
        self._underway: list[set[Key]] = []

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        self.reads += 1
        return await super().standings(keys)

    async def write(self, changes: Sequence[Change]) -> frozenset[Key]:
        keys = {change.job.key for change in changes}
        if self.too_big in keys:
            raise TooBig("the job would be larger than a document may be")
        if self.away_for in keys:
            raise Away("memory")
        if self.cancelled_for in keys:
            raise asyncio.CancelledError
        if self.defect is not None:
            raise self.defect
        self.guesses += sum(not change.expected for change in changes)
        with self._alone(keys):
            for _ in range(20):
                await asyncio.sleep(0)
            lost = await super().write(changes)
        self._journal += [f"{change.job.state.value} v{change.job.version}" for change in changes]
        return lost

    @contextmanager
    def _alone(self, keys: set[Key]) -> Iterator[None]:
        assert all(map(keys.isdisjoint, self._underway)), "two writes on one job at once"
        self._underway.append(keys)
        self.most_at_once = max(self.most_at_once, len(self._underway))
        try:
            yield
        finally:
            self._underway.remove(keys)


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

    async def rest(self) -> None:
        """What goes on in the background goes on until it has ended."""
        for _ in range(200):
            await asyncio.sleep(0)


@pytest.fixture(params=[1, 400], ids="portions of {}".format)
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(worker, "PORTION", request.param)
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
    assert sorted(bench.journal[:-1]) == ["FAILED v1", *(f"dead {at}: unknown-framing" for at in range(1, 7))]
    assert bench.journal[-1] == "commit 7"
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
    assert [line for line in bench.journal if line.startswith("dead")] == ["dead 0: too-big", "dead 2: too-big"]
    assert bench.journal[-1] == "commit 4"
    written = await bench.jobs.find(small.key)
    assert written is not None
    assert written.job.state is State.COMPLETED


def some_jobs(count: int, *, total: int = 2) -> list[Header]:
    return [a_header(total, key=Key(608 + number, JOB.job_id)) for number in range(count)]


async def test_portions_are_written_beside_each_other_but_never_two_of_one_job(bench: Bench) -> None:
    headers = some_jobs(5, total=3)
    apart = [judged(a_run("S"), header) for header in headers]
    close = [judged(a_run("S", index), header) for header in headers for index in (1, 2)]
    await bench.handle(a_poll(*apart, *close))
    assert bench.journal[-1] == "commit 15"
    for header in headers:
        written = await bench.jobs.find(header.key)
        assert written is not None
        assert written.job.state is State.COMPLETED
    assert bench.jobs.most_at_once == (min(worker.PORTIONS, len(headers)) if worker.PORTION == 1 else 1)


async def test_a_poll_that_was_given_up_halfway_comes_again_and_is_counted_once(bench: Bench) -> None:
    headers = some_jobs(9)
    poll = a_poll(*(judged(a_run("SS"), header) for header in headers))
    bench.jobs.away_for = headers[1].key
    before = counted("judged")
    with pytest.raises(Away):
        await bench.handle(poll)
    assert not [line for line in bench.journal if line.startswith("commit")]
    bench.jobs.away_for = None
    await bench.handle(poll)
    assert bench.journal[-1] == "commit 9"
    assert bench.jobs.writes == 9
    assert counted("judged") == before + 9


async def test_a_poll_that_was_given_up_halfway_is_not_committed_by_who_lost_it(bench: Bench) -> None:
    headers = some_jobs(9)
    bench.jobs.away_for = headers[1].key
    with pytest.raises(Away):
        await bench.handle(a_poll(*(judged(a_run("SS"), header) for header in headers)))
    bench.jobs.away_for = None
    bench.worker.revoked([PLACE])
    await bench.handle({})
    assert not [line for line in bench.journal if line.startswith("commit")]


@pytest.fixture
def busy(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Takes every poll for a large one, which others follow at once."""
    monkeypatch.setattr(worker, "LARGE", 1)
    return bench


def ended(header: Header) -> JobEvent:
    """What ends a job of two records by itself."""
    return opened(header, refused=a_run("FF"))


async def test_a_poll_is_read_while_the_last_one_is_written_and_committed_after_it(busy: Bench) -> None:
    for at, header in enumerate(some_jobs(2)):
        await busy.handle(a_poll(ended(header), start=at))
    assert busy.journal == ["commit 0"]
    await busy.handle({})
    assert busy.journal == ["commit 0", "FAILED v1", "FAILED v1", "commit 2"]
    assert busy.jobs.most_at_once == 2


async def test_polls_that_speak_of_one_job_are_written_one_after_the_other(busy: Bench) -> None:
    header = a_header(3)
    for at in range(3):
        await busy.handle(a_poll(judged(a_run("S", at), header), start=at))
    await busy.handle({})
    assert busy.journal[-1] == "commit 3"
    assert busy.jobs.most_at_once == 1
    written = await busy.jobs.find(header.key)
    assert written is not None
    assert written.job.state is State.COMPLETED


async def test_what_could_not_be_written_is_written_with_the_next_poll(busy: Bench) -> None:
    first, second = some_jobs(2)
    before = counted("opened")
    busy.jobs.away_for = first.key
    await busy.handle(a_poll(ended(first)))
    await busy.rest()
    poll = a_poll(ended(second), start=1)
    with pytest.raises(Away):
        await busy.handle(poll)
    await busy.handle(poll)
    with pytest.raises(Away):
        await busy.handle({})
    busy.jobs.away_for = None
    await busy.handle({})
    assert busy.journal[-1] == "commit 2"
    assert busy.jobs.writes == 2
    assert counted("opened") == before + 2


async def test_what_is_being_written_of_a_lost_partition_is_not_committed(busy: Bench) -> None:
    await busy.handle(a_poll(ended(a_header())))
    busy.worker.revoked([PLACE])
    await busy.handle({})
    assert busy.journal == ["commit 0", "FAILED v1"]


async def test_what_could_not_be_written_of_a_lost_partition_is_forgotten(busy: Bench) -> None:
    header = a_header()
    busy.jobs.away_for = header.key
    await busy.handle(a_poll(ended(header)))
    await busy.rest()
    busy.worker.revoked([PLACE])
    busy.jobs.away_for = None
    with pytest.raises(Away):
        await busy.handle({})
    await busy.handle({})
    assert busy.journal == ["commit 0"]


async def test_a_defect_in_the_background_comes_to_light(busy: Bench) -> None:
    busy.jobs.defect = KeyError("a defect")
    await busy.handle(a_poll(ended(a_header())))
    with pytest.raises(KeyError):
        await busy.handle({})
    assert busy.journal == ["commit 0"]


async def test_what_was_cancelled_in_the_background_is_written_again(busy: Bench) -> None:
    """As when the connection that it waits for is closed by somebody else."""
    first, second = some_jobs(2)
    busy.jobs.cancelled_for = first.key
    await busy.handle(a_poll(ended(first)))
    await busy.rest()
    poll = a_poll(ended(second), start=1)
    with pytest.raises(Away):
        await busy.handle(poll)
    busy.jobs.cancelled_for = None
    await busy.handle(poll)
    await busy.handle({})
    assert busy.journal[-1] == "commit 2"
    assert busy.jobs.writes == 2


async def test_what_is_in_front_of_a_stopped_partition_is_written_at_once(busy: Bench) -> None:
    """What is not given to be committed then counts as lag for as long as nobody looks after it."""
    await busy.handle(a_poll(ended(a_header()), *[b"rubbish"] * 7))
    assert busy.journal[-2:] == ["FAILED v1", "commit 7"]


async def test_events_that_come_again_are_read_before_they_are_written(bench: Bench) -> None:
    """Guessing that they are new costs more than reading then; new ones are guessed again."""
    old, new, newer = (
        a_poll(*(opened(header, refused=a_run("FF")) for header in some_jobs(18)[first : first + 6]), start=first)
        for first in (0, 6, 12)
    )
    await bench.handle(old)
    assert (bench.jobs.guesses, bench.jobs.reads) == (6, 0)
    await bench.handle(old)
    guesses = bench.jobs.guesses - 6
    assert 1 <= guesses <= worker.PORTIONS * worker.PORTION
    settled = bench.jobs.settled
    await bench.handle(old)
    assert bench.jobs.guesses == 6 + guesses
    assert bench.jobs.settled > settled, "what is there already is committed only when it stays"
    await bench.handle(new)
    reads = bench.jobs.reads
    await bench.handle(newer)
    assert bench.jobs.reads == reads


def counted(fact: str) -> float:
    samples = [sample for family in metrics.EVENTS.collect() for sample in family.samples]
    return sum(one.value for one in samples if one.name.endswith("_total") and one.labels["fact"] == fact)
