"""Whatever happens to a worker, the offsets that it returns are durable, and in the end everything is committed."""

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
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore

PARTITIONS = [TopicPartition("jobs.events.v1", number) for number in range(3)]
SEEDS = 90

# Records with their events; None where they are malformed.
Log = list[tuple[ConsumerRecord, JobEvent | None]]


class FlakyDeadLetterSender:
    """Records dead letters; Kafka is sometimes unavailable."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self.sent: set[tuple[int, int]] = set()

    async def send(self, dead_letters: Iterable[DeadLetter]) -> None:
        if self._chance.random() < 0.1:
            raise UnavailableError("Kafka")
        self.sent |= {(dead_letter.record.partition, dead_letter.record.offset) for dead_letter in dead_letters}


class ConsumerGroup:
    """Partitions, their committed offsets, and a member that consumes them through failures of all kinds."""

    def __init__(self, seed: int) -> None:
        self._chance = chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
        self._logs = {partition: a_log(chance, partition) for partition in PARTITIONS}
        self._committed = dict.fromkeys(PARTITIONS, 0)
        self._position = dict(self._committed)
        self._stored = MemoryJobStore()
        self._now_s = 0.0
        self._dead_letters = FlakyDeadLetterSender(chance)
        failing = MemoryJobStore(turns=lambda: chance.choice([0, 1, 7, 40]), fails=self._fails)
        failing.job_documents = self._stored.job_documents
        self._worker = Worker(
            Deps(
                jobs=failing,
                site_profiles=FakeSiteProfiles(),
                notifier=FakeNotifier(),
                finished=FakeFinishedPublisher(),
                now_us=lambda: 0,
            ),
            codec=EventCodec(SCHEMAS),
            dead_letters=self._dead_letters,
            dead_letter_limit=DeadLetterLimit(max_consecutive=1_000, window=10_000, max_ratio=0.5),
            linger_s=0.05,
            clock_s=lambda: self._now_s,
        )

    def _fails(self) -> str:
        return self._chance.choice(["before", "after"]) if self._chance.random() < 0.1 else ""

    async def run(self) -> None:
        """Consume everything."""
        while any(self._committed[partition] < len(self._logs[partition]) for partition in PARTITIONS):
            await self._handle(self._next_poll())
            if self._chance.random() < 0.1:
                if self._chance.random() < 0.7:
                    await self._handle({})
                self._rebalance()

    def _next_poll(self) -> Poll:
        """The next records of some partitions; may be empty."""
        found = {}
        for partition in self._chance.sample(PARTITIONS, self._chance.randrange(len(PARTITIONS) + 1)):
            at = self._position[partition]
            records = [record for record, _ in self._logs[partition][at : at + self._chance.choice([1, 3, 20])]]
            if records:
                found[partition] = records
                self._position[partition] += len(records)
        return found

    async def _handle(self, poll: Poll) -> None:
        """Repeat the poll until it is handled, or until its partitions are revoked."""
        while True:
            self._now_s += self._chance.choice([0.0, 0.01, 0.06])
            try:
                offsets = await self._worker.handle(poll)
            except UnavailableError:
                if self._chance.random() < 0.2:
                    self._rebalance()
                    return
            else:
                for partition, offset in offsets.items():
                    assert offset >= self._committed[partition], "a commit went back"
                    await self._assert_done(self._logs[partition][self._committed[partition] : offset])
                self._committed |= offsets
                return

    def _rebalance(self) -> None:
        """Revoke the partitions and continue from their committed offsets."""
        self._worker.on_revoked(PARTITIONS)
        self._position = dict(self._committed)

    async def _assert_done(self, records: Log) -> None:
        for record, event in records:
            if event is None:
                assert (record.partition, record.offset) in self._dead_letters.sent, "committed, and no dead letter"
            else:
                assert await self._is_kept(event), f"committed, and not kept: {event}"

    async def _is_kept(self, event: JobEvent) -> bool:
        stored = await self._stored.find(event.header.key, ALL_EVENTS)
        if stored is None or stored.block is None:
            return False
        run = event.fact.run if isinstance(event.fact, Judged) else None
        return run is None or UNDECIDED not in stored.block.outcomes[run.first : run.first + len(run.outcomes)]


def a_log(chance: random.Random, partition: TopicPartition) -> Log:
    """Jobs of one to nine records, their events mixed, some cut into pieces; sometimes malformed bytes."""
    events: list[tuple[float, JobEvent | None]] = [(chance.random() * 100, None) for _ in range(chance.randrange(4))]
    for _ in range(chance.randrange(1, 60)):
        at, total = chance.random() * 100, chance.randrange(1, 10)
        header = a_header(total, key=JobKey(608, str(UUID(int=chance.getrandbits(128), version=4))))
        cut = chance.randrange(total) if chance.random() < 0.3 else 0
        parts = [opened(header), *(judged(run, header) for run in runs(total, cut))]
        events += [(at + chance.random(), part) for part in parts]
    events.sort(key=lambda one: one[0])
    return [(a_record(partition, offset, event), event) for offset, (_, event) in enumerate(events)]


def runs(total: int, cut: int) -> Sequence[OutcomeRun]:
    return [a_run("S" * (end - first), first) for first, end in ((0, cut), (cut, total)) if end > first]


def a_record(partition: TopicPartition, offset: int, event: JobEvent | None) -> ConsumerRecord:
    value = encode(event) if event else b"rubbish"
    return ConsumerRecord(partition.topic, partition.partition, offset, 0, 0, b"608|x", value, None, 0, 0, ())


async def test_what_is_committed_is_durable_and_all_of_it_is_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """I7, whichever polls are large, portions small, stores away, answers lost and partitions taken away."""
    for seed in range(SEEDS):
        monkeypatch.setattr(worker, "LARGE_POLL", (1, 5, 1_000)[seed % 3])
        monkeypatch.setattr(worker, "PORTION", (1, 4, 400)[seed // 3 % 3])
        try:
            await ConsumerGroup(seed).run()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
