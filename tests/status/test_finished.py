"""The end of a job is published at least once, also when the process dies between the write and the publish."""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Sequence
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from fastavro import schemaless_reader

from services.chassis.avro.wire_format import unframe
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.settings import REPOSITORY
from services.jobs.events import JobEvent
from services.status.domain.job import Job
from services.status.flows.apply_events import Deps, apply_events
from services.status.wire import FinishedCodec
from tests.jobs.encoded import SCHEMAS
from tests.jobs.events import CREATED_US, JOB, a_header, a_run, expired, judged, opened
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles, MemoryJobStore


class JournalledPublisher(FakeFinishedPublisher):
    """Also notes what was stored when it published."""

    def __init__(self, jobs: MemoryJobStore) -> None:
        super().__init__()
        self._jobs = jobs
        self.writes_before: list[int] = []

    async def publish_finished(self, jobs: Sequence[Job]) -> None:
        await super().publish_finished(jobs)
        self.writes_before.append(self._jobs.writes)


class Harness:
    """Applies events to jobs in memory."""

    def __init__(self) -> None:
        self.jobs = MemoryJobStore()
        self.finished = JournalledPublisher(self.jobs)
        self.deps = Deps(
            jobs=self.jobs,
            site_profiles=FakeSiteProfiles(),
            notifier=FakeNotifier(),
            finished=self.finished,
            now_us=lambda: CREATED_US,
        )

    async def apply(self, *events: JobEvent, optimistic: bool = True) -> list[str]:
        """Apply the events; returns the states that were published."""
        before = len(self.finished.published)
        await apply_events(events, self.deps, optimistic=optimistic)
        return [job.state.value for job in self.finished.published[before:]]


@pytest.mark.parametrize("optimistic", [True, False])
@pytest.mark.parametrize("total", [2, 700])
async def test_an_end_is_published_after_the_job_is_stored(total: int, *, optimistic: bool) -> None:
    harness, header = Harness(), a_header(total)
    assert await harness.apply(opened(header), judged(a_run("S"), header), optimistic=optimistic) == []
    assert await harness.apply(judged(a_run("S" * (total - 1), 1), header), optimistic=optimistic) == ["COMPLETED"]
    assert harness.finished.writes_before == [harness.jobs.writes]


@pytest.mark.parametrize("optimistic", [True, False])
@pytest.mark.parametrize("total", [2, 700])
async def test_a_repeated_event_publishes_the_end_again(total: int, *, optimistic: bool) -> None:
    """The process that stored the end may have died before it published it."""
    harness, header = Harness(), a_header(total)
    events = [opened(header), judged(a_run("S" * (total - 1) + "F"), header)]
    for _ in range(2):
        assert await harness.apply(*events, optimistic=optimistic) == ["COMPLETED_WITH_WARNING"]
    assert await harness.apply(events[1], optimistic=optimistic) == ["COMPLETED_WITH_WARNING"]
    first, second, third = map(FinishedCodec(SCHEMAS).encode, harness.finished.published)
    assert first == second == third


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([opened(), judged(a_run("FF"))], "FAILED"),
        ([opened(), judged(a_run("S")), expired()], "EXPIRED"),
        ([opened(refused=a_run("FF"))], "FAILED"),
        ([judged(a_run("SS"))], "COMPLETED"),
    ],
)
async def test_every_end_is_published(events: list[JobEvent], state: str) -> None:
    assert await Harness().apply(*events) == [state]


async def test_events_whose_job_is_not_published_are_not_done() -> None:
    """The worker keeps them, and applies them again."""
    harness = Harness()
    harness.finished.fails = True
    with pytest.raises(UnavailableError):
        await harness.apply(opened(), judged(a_run("SS")))
    harness.finished.fails = False
    assert await harness.apply(opened(), judged(a_run("SS"))) == ["COMPLETED"]


async def test_the_event_has_the_counts() -> None:
    harness = Harness()
    await harness.apply(opened(), judged(a_run("SF")))
    key, value = FinishedCodec(SCHEMAS).encode(harness.finished.published[0])
    assert key == f"{JOB.site}|{JOB.job_id}".encode()
    event = decode(value)
    assert {
        name: event[name] for name in ("site", "jobId", "state", "total", "succeeded", "failed", "unprocessed")
    } == {
        "site": JOB.site,
        "jobId": JOB.job_id,
        "state": "COMPLETED_WITH_WARNING",
        "total": 2,
        "succeeded": 1,
        "failed": 1,
        "unprocessed": 0,
    }


def decode(value: bytes) -> dict[str, object]:
    _, body = unframe(value)
    event = schemaless_reader(io.BytesIO(body), SCHEMAS["job_finished"].parsed, None)
    assert isinstance(event, dict)
    return event


async def test_an_end_is_published_although_the_process_died_before(kafka_bootstrap: str, mongodb_uri: str) -> None:
    """Breaks: SIGKILL after the job is stored, before its end is published. The next process publishes it."""
    database, topic = f"t{uuid4().hex[:12]}", f"finished-{uuid4().hex[:12]}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    await admin.close()

    async def run(failpoint: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.status.worker_process", mongodb_uri, database, kafka_bootstrap, topic),
            cwd=REPOSITORY,
            env={**os.environ, "FAILPOINTS": failpoint},
        )
        async with asyncio.timeout(60):
            return await process.wait()

    assert await run("status.before_publishing_finished") == -signal.SIGKILL
    assert await run("") == 0
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(30):
            record = await consumer.getone()
    finally:
        await consumer.stop()
    assert decode(record.value)["state"] == "COMPLETED"
