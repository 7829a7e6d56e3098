"""Whatever happens to a worker, what it lets be committed is durable, and in the end all of it is committed."""

import random
from collections.abc import Iterable, Sequence
from uuid import UUID

import pytest
from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import UNDECIDED, JobEvent, JobKey, Judged, OutcomeRun
from services.status import worker
from services.status.domain.block import ALL_EVENTS
from services.status.flows.apply_events import Deps
from services.status.wire import EventCodec
from services.status.worker import Worker
from tests.jobs.encoded import SCHEMAS, encode
from tests.jobs.events import a_header, a_run, judged, opened
from tests.status.memory import FakeNotifier, FakeSiteProfiles, MemoryJobStore

PLACES = [TopicPartition("jobs.events.v1", number) for number in range(3)]
SEEDS = 90

# What a record says; nothing where it cannot be read.
Log = list[tuple[ConsumerRecord, JobEvent | None]]


class Box:
    """Takes dead letters, unless it is away."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.taken: set[tuple[int, int]] = set()

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        if self._chance.random() < 0.1:
            raise UnavailableError("Kafka")
        self.taken |= {(letter.record.partition, letter.record.offset) for letter in letters}


class Group:
    """Partitions, what is committed of them, and a member that reads them through trouble of all kinds."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
        self._logs = {place: a_log(chance, place) for place in PLACES}
        self._committed = dict.fromkeys(PLACES, 0)
        self._position = dict(self._committed)
        self._kept = MemoryJobStore()
        self._now_s = 0.0
        self._box = Box(chance)
        failing = MemoryJobStore(turns=lambda: chance.choice([0, 1, 7, 40]), fails=self._fails)
        failing.job_documents = self._kept.job_documents
        self._worker = Worker(
            Deps(jobs=failing, site_profiles=FakeSiteProfiles(), notifier=FakeNotifier(), now_us=lambda: 0),
            codec=EventCodec(SCHEMAS),
            dead_letters=self._box,
            dead_letter_limit=DeadLetterLimit(max_consecutive=1_000, window=10_000, max_ratio=0.5),
            linger_s=0.05,
            clock_s=lambda: self._now_s,
        )

    def _fails(self) -> str:
        return self._chance.choice(["before", "after"]) if self._chance.random() < 0.1 else ""

    async def live(self) -> None:
        """Read to the end."""
        while any(self._committed[place] < len(self._logs[place]) for place in PLACES):
            await self._turn(self._next())
            if self._chance.random() < 0.1:
                if self._chance.random() < 0.7:
                    await self._turn({})
                self._lose()

    def _next(self) -> Poll:
        """What comes next of some partitions, or nothing."""
        found = {}
        for place in self._chance.sample(PLACES, self._chance.randrange(len(PLACES) + 1)):
            at = self._position[place]
            records = [record for record, _ in self._logs[place][at : at + self._chance.choice([1, 3, 20])]]
            if records:
                found[place] = records
                self._position[place] += len(records)
        return found

    async def _turn(self, poll: Poll) -> None:
        """The same poll until it is handled, or until its partitions are lost."""
        while True:
            self._now_s += self._chance.choice([0.0, 0.01, 0.06])
            try:
                offsets = await self._worker.handle(poll)
            except UnavailableError:
                if self._chance.random() < 0.2:
                    self._lose()
                    return
            else:
                for place, offset in offsets.items():
                    assert offset >= self._committed[place], "a commit went back"
                    await self._assert_done(self._logs[place][self._committed[place] : offset])
                self._committed |= offsets
                return

    def _lose(self) -> None:
        """The partitions go to somebody else and come back at once, from their committed offsets."""
        self._worker.on_revoked(PLACES)
        self._position = dict(self._committed)

    async def _assert_done(self, records: Log) -> None:
        for record, event in records:
            if event is None:
                assert (record.partition, record.offset) in self._box.taken, "committed, and no dead letter"
            else:
                assert await self._is_kept(event), f"committed, and not kept: {event}"

    async def _is_kept(self, event: JobEvent) -> bool:
        standing = await self._kept.find(event.header.key, ALL_EVENTS)
        if standing is None or standing.block is None:
            return False
        run = event.fact.run if isinstance(event.fact, Judged) else None
        return run is None or UNDECIDED not in standing.block.outcomes[run.first : run.first + len(run.outcomes)]


def a_log(chance: random.Random, place: TopicPartition) -> Log:
    """Jobs of one to nine records, their events among those of others, some cut into pieces; now and then rubbish."""
    events: list[tuple[float, JobEvent | None]] = [(chance.random() * 100, None) for _ in range(chance.randrange(4))]
    for _ in range(chance.randrange(1, 60)):
        at, total = chance.random() * 100, chance.randrange(1, 10)
        header = a_header(total, key=JobKey(608, str(UUID(int=chance.getrandbits(128), version=4))))
        cut = chance.randrange(total) if chance.random() < 0.3 else 0
        parts = [opened(header), *(judged(run, header) for run in runs(total, cut))]
        events += [(at + chance.random(), part) for part in parts]
    events.sort(key=lambda one: one[0])
    return [(a_record(place, offset, event), event) for offset, (_, event) in enumerate(events)]


def runs(total: int, cut: int) -> Sequence[OutcomeRun]:
    return [a_run("S" * (end - first), first) for first, end in ((0, cut), (cut, total)) if end > first]


def a_record(place: TopicPartition, offset: int, event: JobEvent | None) -> ConsumerRecord:
    value = encode(event) if event else b"rubbish"
    return ConsumerRecord(place.topic, place.partition, offset, 0, 0, b"608|x", value, None, 0, 0, ())


async def test_what_is_committed_is_durable_and_all_of_it_is_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """I7, whichever polls are large, portions small, stores away, answers lost and partitions taken away."""
    for seed in range(SEEDS):
        monkeypatch.setattr(worker, "LARGE_POLL", (1, 5, 1_000)[seed % 3])
        monkeypatch.setattr(worker, "PORTION", (1, 4, 400)[seed // 3 % 3])
        try:
            await Group(seed).live()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
