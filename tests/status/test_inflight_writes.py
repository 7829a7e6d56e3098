"""After a large poll the next one is read while the last is written; nothing is committed before it is durable."""

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobHeader
from services.status import worker
from services.status.domain.job import JobState
from tests.jobs.events import a_header, a_run, judged, opened
from tests.status.worker_fixtures import PARTITION, WorkerHarness, a_poll, counted, some_jobs


@pytest.fixture(params=[1, 400], ids="portions of {}".format)
def busy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WorkerHarness:
    """Takes every poll for a large one, which others follow at once."""
    monkeypatch.setattr(worker, "PORTION", request.param)
    monkeypatch.setattr(worker, "LARGE_POLL", 1)
    return WorkerHarness()


def ended(header: JobHeader) -> JobEvent:
    """What ends a job of two records by itself."""
    return opened(header, refused=a_run("FF"))


async def test_a_poll_is_read_while_the_last_one_is_written_and_committed_after_it(busy: WorkerHarness) -> None:
    for at, header in enumerate(some_jobs(2)):
        await busy.handle(a_poll(ended(header), start=at))
    assert busy.journal == ["commit 0"]
    await busy.handle({})
    assert busy.journal == ["commit 0", "FAILED v1", "FAILED v1", "commit 2"]
    assert busy.jobs.max_concurrent == 2


async def test_polls_that_speak_of_one_job_are_written_one_after_the_other(busy: WorkerHarness) -> None:
    header = a_header(3)
    for at in range(3):
        await busy.handle(a_poll(judged(a_run("S", at), header), start=at))
    await busy.handle({})
    assert busy.journal[-1] == "commit 3"
    assert busy.jobs.max_concurrent == 1
    written = await busy.jobs.find(header.key)
    assert written is not None
    assert written.job.state is JobState.COMPLETED


async def test_what_could_not_be_written_is_written_with_the_next_poll(busy: WorkerHarness) -> None:
    first, second = some_jobs(2)
    before = counted("opened")
    busy.jobs.unavailable_for = first.key
    await busy.handle(a_poll(ended(first)))
    await busy.settle_background()
    poll = a_poll(ended(second), start=1)
    with pytest.raises(UnavailableError):
        await busy.handle(poll)
    await busy.handle(poll)
    with pytest.raises(UnavailableError):
        await busy.handle({})
    busy.jobs.unavailable_for = None
    await busy.handle({})
    assert busy.journal[-1] == "commit 2"
    assert busy.jobs.writes == 2
    assert counted("opened") == before + 2


async def test_what_is_being_written_of_a_lost_partition_is_not_committed(busy: WorkerHarness) -> None:
    await busy.handle(a_poll(ended(a_header())))
    busy.worker.on_revoked([PARTITION])
    await busy.handle({})
    assert busy.journal == ["commit 0", "FAILED v1"]


async def test_what_could_not_be_written_of_a_lost_partition_is_forgotten(busy: WorkerHarness) -> None:
    header = a_header()
    busy.jobs.unavailable_for = header.key
    await busy.handle(a_poll(ended(header)))
    await busy.settle_background()
    busy.worker.on_revoked([PARTITION])
    busy.jobs.unavailable_for = None
    with pytest.raises(UnavailableError):
        await busy.handle({})
    await busy.handle({})
    assert busy.journal == ["commit 0"]


async def test_a_defect_in_the_background_comes_to_light(busy: WorkerHarness) -> None:
    busy.jobs.defect = KeyError("a defect")
    await busy.handle(a_poll(ended(a_header())))
    with pytest.raises(KeyError):
        await busy.handle({})
    assert busy.journal == ["commit 0"]


async def test_what_was_cancelled_in_the_background_is_written_again(busy: WorkerHarness) -> None:
    """As when the connection that it waits for is closed by somebody else."""
    first, second = some_jobs(2)
    busy.jobs.cancelled_for = first.key
    await busy.handle(a_poll(ended(first)))
    await busy.settle_background()
    poll = a_poll(ended(second), start=1)
    with pytest.raises(UnavailableError):
        await busy.handle(poll)
    busy.jobs.cancelled_for = None
    await busy.handle(poll)
    await busy.handle({})
    assert busy.journal[-1] == "commit 2"
    assert busy.jobs.writes == 2


async def test_what_is_in_front_of_a_stopped_partition_is_written_at_once(busy: WorkerHarness) -> None:
    """What is not given to be committed then counts as lag for as long as nobody looks after it."""
    await busy.handle(a_poll(ended(a_header()), *[b"rubbish"] * 7))
    assert busy.journal[-2:] == ["FAILED v1", "commit 7"]
