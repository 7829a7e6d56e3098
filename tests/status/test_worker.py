"""Polls in, offsets out: nothing is committed before it is durable."""

import pytest

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobKey
from services.status import worker
from services.status.domain.job import JobState
from tests.jobs.encoded import encode
from tests.jobs.events import JOB, a_header, a_run, judged, opened
from tests.status.worker_fixtures import PARTITION, WorkerHarness, a_poll, counted, some_jobs


@pytest.fixture(params=[1, 400], ids="portions of {}".format)
def harness(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> WorkerHarness:
    monkeypatch.setattr(worker, "PORTION", request.param)
    return WorkerHarness()


async def test_nothing_is_committed_before_it_is_written(harness: WorkerHarness) -> None:
    """I7: the committed offset is never ahead of the durable effect."""
    await harness.handle(a_poll(opened(), judged(a_run("SF"))))
    assert harness.journal == ["COMPLETED_WITH_WARNING v1", "commit 2"]


async def test_an_opened_job_is_held_back_for_its_verdicts(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened()))
    assert harness.journal == ["commit 0"]
    await harness.handle(a_poll(judged(a_run("SS")), start=1))
    assert harness.journal == ["commit 0", "COMPLETED v1", "commit 2"]


async def test_an_opened_job_is_not_held_back_for_long(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened()))
    await harness.handle({})
    assert harness.journal == ["commit 0"]
    harness.clock_s = 0.051
    await harness.handle({})
    assert harness.journal == ["commit 0", "RECEIVED v1", "commit 1"]
    await harness.handle({})
    await harness.handle(a_poll(judged(a_run("SS")), start=1))
    assert harness.journal[3:] == ["COMPLETED v2", "commit 2"]


async def test_a_job_of_which_intake_refused_some_is_held_back_for_the_others(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened(refused=a_run("F."))))
    assert harness.journal == ["commit 0"]


async def test_too_many_held_back_are_written_at_once(harness: WorkerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "MAX_LINGERING_EVENTS", 2)
    await harness.handle(a_poll(*map(opened, some_jobs(2))))
    assert harness.journal == ["commit 0"]
    await harness.handle(a_poll(*map(opened, some_jobs(3)[2:]), start=2))
    assert harness.journal == ["commit 0", *["RECEIVED v1"] * 3, "commit 3"]


async def test_other_jobs_do_not_wait_for_the_one_held_back(harness: WorkerHarness) -> None:
    other = a_header(1, key=JobKey(608, "00000000-0167-11ee-b91c-b9178e343914"))
    await harness.handle(a_poll(opened(), opened(other), judged(a_run("S"), other)))
    assert harness.journal == ["COMPLETED v1", "commit 0"]


async def test_a_job_of_refused_records_only_is_written_at_once(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened(refused=a_run("FF"))))
    assert harness.journal == ["FAILED v1", "commit 1"]


async def test_a_held_event_survives_that_the_store_is_away(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened()))
    poll = a_poll(judged(a_run("SS")), start=1)
    harness.jobs.failing = "before"
    with pytest.raises(UnavailableError):
        await harness.handle(poll)
    harness.jobs.failing = ""
    await harness.handle(poll)
    assert harness.journal == ["commit 0", "COMPLETED v1", "commit 2"]


async def test_a_write_whose_answer_was_lost_is_not_done_twice(harness: WorkerHarness) -> None:
    poll = a_poll(opened(), judged(a_run("SF")))
    harness.jobs.failing = "after"
    with pytest.raises(UnavailableError):
        await harness.handle(poll)
    harness.jobs.failing = ""
    await harness.handle(poll)
    assert harness.jobs.writes == 1
    assert harness.journal[-1] == "commit 2"


async def test_what_is_held_of_a_lost_partition_is_forgotten(harness: WorkerHarness) -> None:
    await harness.handle(a_poll(opened()))
    harness.worker.on_revoked([PARTITION])
    harness.clock_s = 1.0
    await harness.handle({})
    assert harness.journal == ["commit 0"]


async def test_poison_is_put_aside_and_the_partition_goes_on(harness: WorkerHarness) -> None:
    good = encode(opened(refused=a_run("FF")))
    poison = [b"", b"\x00", good[:-1], good + b"\x00", b"\x00\x00\x00\x00\x09abc", b"\x01" + good[1:]]
    await harness.handle(a_poll(*poison, good))
    assert harness.journal == [
        "dead 0: unknown-framing",
        "dead 1: unknown-framing",
        "dead 2: undecodable",
        "dead 3: undecodable",
        "dead 4: unknown-schema",
        "dead 5: unknown-framing",
        "FAILED v1",
        "commit 7",
    ]


async def test_poison_is_not_committed_before_it_is_safe(harness: WorkerHarness) -> None:
    harness.dead_letters.unavailable = True
    with pytest.raises(UnavailableError):
        await harness.handle(a_poll(b""))
    harness.dead_letters.unavailable = False
    await harness.handle(a_poll(b""))
    assert harness.journal == ["dead 0: unknown-framing", "commit 1"]


async def test_a_partition_full_of_poison_is_stopped_in_front_of_the_one_too_many(harness: WorkerHarness) -> None:
    good = encode(opened(refused=a_run("FF")))
    poll = a_poll(good, *[b""] * 8)
    harness.dead_letters.unavailable = True
    with pytest.raises(UnavailableError):
        await harness.handle(poll)
    harness.dead_letters.unavailable = False
    await harness.handle(poll)
    assert sorted(harness.journal[:-1]) == ["FAILED v1", *(f"dead {at}: unknown-framing" for at in range(1, 7))]
    assert harness.journal[-1] == "commit 7"
    assert set(harness.dead_letter_limit.halted) == {PARTITION}
    await harness.handle(a_poll(b"", good, start=7))
    assert len(harness.journal) == 8, "it goes on"
    harness.worker.on_revoked([PARTITION])
    assert not harness.dead_letter_limit.halted


async def test_a_job_that_cannot_be_kept_is_put_aside_and_the_others_go_on(harness: WorkerHarness) -> None:
    """Or the same poll would come again for ever."""
    big, small = a_header(key=JobKey(608, JOB.job_id)), a_header(key=JobKey(609, JOB.job_id))
    harness.jobs.too_big = big.key
    await harness.handle(a_poll(opened(big), opened(small), judged(a_run("SS"), big), judged(a_run("SS"), small)))
    assert [line for line in harness.journal if line.startswith("dead")] == ["dead 0: too-big", "dead 2: too-big"]
    assert harness.journal[-1] == "commit 4"
    written = await harness.jobs.find(small.key)
    assert written is not None
    assert written.job.state is JobState.COMPLETED


async def test_portions_are_written_beside_each_other_but_never_two_of_one_job(harness: WorkerHarness) -> None:
    headers = some_jobs(8, total=3)
    apart = [judged(a_run("S"), header) for header in headers]
    close = [judged(a_run("S", index), header) for header in headers for index in (1, 2)]
    await harness.handle(a_poll(*apart, *close))
    assert harness.journal[-1] == "commit 24"
    for header in headers:
        written = await harness.jobs.find(header.key)
        assert written is not None
        assert written.job.state is JobState.COMPLETED
    assert harness.jobs.max_concurrent == (worker.PORTIONS if worker.PORTION == 1 else 1)


async def test_a_poll_that_was_given_up_halfway_comes_again_and_is_counted_once(harness: WorkerHarness) -> None:
    headers = some_jobs(9)
    poll = a_poll(*(judged(a_run("SS"), header) for header in headers))
    harness.jobs.unavailable_for = headers[1].key
    before = counted("judged")
    with pytest.raises(UnavailableError):
        await harness.handle(poll)
    assert not [line for line in harness.journal if line.startswith("commit")]
    harness.jobs.unavailable_for = None
    await harness.handle(poll)
    assert harness.journal[-1] == "commit 9"
    assert harness.jobs.writes == 9
    assert counted("judged") == before + 9


async def test_a_poll_that_was_given_up_halfway_is_not_committed_by_who_lost_it(harness: WorkerHarness) -> None:
    headers = some_jobs(9)
    harness.jobs.unavailable_for = headers[1].key
    with pytest.raises(UnavailableError):
        await harness.handle(a_poll(*(judged(a_run("SS"), header) for header in headers)))
    harness.jobs.unavailable_for = None
    harness.worker.on_revoked([PARTITION])
    await harness.handle({})
    assert not [line for line in harness.journal if line.startswith("commit")]


async def test_a_partition_that_comes_back_is_committed_again(harness: WorkerHarness) -> None:
    """Its last commit may have been refused; a worker that takes it for committed would leave lag for ever."""
    poll = a_poll(opened(), judged(a_run("SS")))
    await harness.handle(poll)
    harness.worker.on_revoked([PARTITION])
    await harness.handle(poll)
    assert [line for line in harness.journal if line.startswith("commit")] == ["commit 2", "commit 2"]


async def test_a_defect_is_told_rather_than_that_the_store_is_away(harness: WorkerHarness) -> None:
    """Or the process would go on waiting, and nobody would look at the defect."""
    headers = some_jobs(3)
    harness.jobs.unavailable_for, harness.jobs.defect = headers[0].key, KeyError("a defect")
    with pytest.raises(KeyError if worker.PORTION == 1 else UnavailableError):
        await harness.handle(a_poll(*(judged(a_run("SS"), header) for header in headers)))


async def test_events_that_come_again_are_read_before_they_are_written(harness: WorkerHarness) -> None:
    """Guessing that they are new costs more than reading then; new ones are guessed again."""
    old, new, newer = (
        a_poll(*(opened(header, refused=a_run("FF")) for header in some_jobs(18)[first : first + 6]), start=first)
        for first in (0, 6, 12)
    )
    await harness.handle(old)
    assert (harness.jobs.inserts_tried, harness.jobs.reads) == (6, 0)
    await harness.handle(old)
    guesses = harness.jobs.inserts_tried - 6
    assert 1 <= guesses <= worker.PORTIONS * worker.PORTION
    await harness.handle(old)
    assert harness.jobs.inserts_tried == 6 + guesses
    await harness.handle(new)
    reads = harness.jobs.reads
    await harness.handle(newer)
    assert harness.jobs.reads == reads
