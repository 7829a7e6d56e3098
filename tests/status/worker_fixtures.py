"""A worker of status without Kafka, and a journal of its effects."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter
from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobHeader, JobKey
from services.status import metrics
from services.status.domain.job import JobChange, StoredJob
from services.status.flows.apply_events import Deps
from services.status.ports import JobTooLargeError
from services.status.wire import EventCodec
from services.status.worker import Worker
from tests.jobs.encoded import SCHEMAS, encode
from tests.jobs.events import JOB, a_header
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore

PARTITION = TopicPartition("jobs.events.v1", 0)


def a_record(value: bytes | None, offset: int) -> ConsumerRecord:
    return ConsumerRecord(PARTITION.topic, 0, offset, 0, 0, b"608|x", value, None, 0, 0, ())


def a_poll(*events: JobEvent | bytes, start: int = 0) -> dict[TopicPartition, list[ConsumerRecord]]:
    values = [event if isinstance(event, bytes) else encode(event) for event in events]
    return {PARTITION: [a_record(value, start + at) for at, value in enumerate(values)]}


class JournalledJobStore(MemoryJobStore):
    """Writes to the journal; fails on demand, and asserts that writes to one job never overlap."""

    def __init__(self, journal: list[str]) -> None:
        super().__init__(fails=lambda: self.failing)
        self.failing = ""
        self.too_big: JobKey | None = None
        self.unavailable_for: JobKey | None = None
        self.cancelled_for: JobKey | None = None
        self.defect: Exception | None = None
        self.inserts_tried = self.reads = self.max_concurrent = 0
        self._journal = journal
        self._in_flight: list[set[JobKey]] = []

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        self.reads += 1
        return await super().load(keys)

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        keys = {change.job.key for change in changes}
        if self.too_big in keys:
            raise JobTooLargeError("the job would be larger than a document may be")
        if self.unavailable_for in keys:
            raise UnavailableError("memory")
        if self.cancelled_for in keys:
            raise asyncio.CancelledError
        if self.defect is not None:
            raise self.defect
        self.inserts_tried += sum(not change.expected_version for change in changes)
        with self._alone(keys):
            for _ in range(20):
                await asyncio.sleep(0)
            lost = await super().write(changes)
        self._journal += [f"{change.job.state.value} v{change.job.version}" for change in changes]
        return lost

    @contextmanager
    def _alone(self, keys: set[JobKey]) -> Iterator[None]:
        assert all(map(keys.isdisjoint, self._in_flight)), "two writes on one job at once"
        self._in_flight.append(keys)
        self.max_concurrent = max(self.max_concurrent, len(self._in_flight))
        try:
            yield
        finally:
            self._in_flight.remove(keys)


class FakeDeadLetterSender:
    """Writes the dead letters to the journal."""

    def __init__(self, journal: list[str]) -> None:
        self._journal = journal
        self.unavailable = False

    async def send(self, dead_letters: Iterable[DeadLetter]) -> None:
        if self.unavailable:
            raise UnavailableError("Kafka")
        self._journal += [f"dead {dead_letter.record.offset}: {dead_letter.reason}" for dead_letter in dead_letters]


class WorkerHarness:
    """A worker, and one journal of all its effects."""

    def __init__(self) -> None:
        self.journal: list[str] = []
        self.jobs = JournalledJobStore(self.journal)
        self.dead_letters = FakeDeadLetterSender(self.journal)
        self.dead_letter_limit = DeadLetterLimit(max_consecutive=6, window=100, max_ratio=0.5)
        self.clock_s = 0.0
        self.worker = Worker(
            Deps(
                jobs=self.jobs,
                site_profiles=FakeSiteProfiles(),
                notifier=FakeNotifier(),
                finished=FakeFinishedPublisher(),
                now_us=lambda: 0,
            ),
            codec=EventCodec(SCHEMAS),
            dead_letters=self.dead_letters,
            dead_letter_limit=self.dead_letter_limit,
            linger_s=0.05,
            clock_s=lambda: self.clock_s,
        )

    async def handle(self, poll: Any) -> None:
        offsets = await self.worker.handle(poll)
        self.journal += [f"commit {offset}" for offset in offsets.values()]

    async def settle_background(self) -> None:
        """Let background tasks finish."""
        for _ in range(200):
            await asyncio.sleep(0)


def some_jobs(count: int, *, total: int = 2) -> list[JobHeader]:
    return [a_header(total, key=JobKey(608 + number, JOB.job_id)) for number in range(count)]


def counted(fact: str) -> float:
    samples = [sample for family in metrics.EVENTS.collect() for sample in family.samples]
    return sum(one.value for one in samples if one.name.endswith("_total") and one.labels["fact"] == fact)
