"""Imports run to their end through pauses, lost responses and the death of processes, and nothing is sent twice."""

import asyncio
import csv
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from import_server import Server, write_file

from services.chassis.mongodb.client import Mongo
from services.portal.adapters.credential_vault import CREDENTIALS
from services.portal.domain.file_import import Counts, FaultGroup, FileImport, Purpose, State, Wish, share_of
from services.portal.domain.record_table import columns, neutralise, rows
from tests.chassis.eventually import until
from tests.portal.import_harness import Process, until_idle
from tests.portal.mongo_fixtures import DAY_US, SECOND_US, SITE, Clock, clock, mongo
from tillstream.models import RecordResult

__all__ = ["clock", "mongo"]

LEASE_US = 15 * SECOND_US
Start = Callable[[], Process]


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def new_process(mongo: Mongo, tmp_path: Path, server: Server, clock: Clock) -> AsyncIterator[Start]:
    """Makes processes that share the database; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        def make() -> Process:
            process = Process(mongo, tmp_path / "spool", server, clock)
            stack.push_async_callback(process.stop)
            return process

        first = make()
        for store in (first.uploads, first.imports, first.log, first.links, first.vault):
            await store.create_indexes()
        yield make


async def test_a_file_is_checked_and_then_imported(server: Server, new_process: Start, tmp_path: Path) -> None:
    process = await new_process().start()
    upload = await process.upload(write_file(tmp_path, 230, bad=frozenset({3, 120})))
    checked = await process.ended(await process.begin(upload, Purpose.CHECK))
    assert (checked.state, checked.total, server.jobs) == (State.DONE, 230, {})
    assert checked.counts == Counts(sent=230, succeeded=228, failed=2)
    assert checked.groups == [FaultGroup("PRODUCT_NOT_FOUND", "/lineItems/*/productId", "zz", 2)]
    imported = await process.ended(await process.begin(upload))
    assert (imported.state, imported.counts) == (State.DONE, checked.counts)
    assert set(server.judged().values()) == {1}
    assert len(server.judged()) == 230
    assert [failed for _, failed in await process.log.jobs(imported.id, limit=9)] == [1, 1]


async def test_the_same_file_is_not_imported_twice_and_checked_as_often_as_asked(
    server: Server, new_process: Start, tmp_path: Path
) -> None:
    """Breaks if two clicks, two tabs or a second upload of the file import it a second time."""
    process = await new_process().start()
    path = write_file(tmp_path, 30)
    upload, second = await process.upload(path), await process.upload(path)
    runs = await asyncio.gather(*(process.begin(each) for each in (upload, second, upload, second)))
    assert len({run.id for run in runs}) == 1
    await process.ended(runs[0])
    assert (await process.begin(second)).id == runs[0].id
    assert len(server.judged()) == 30
    assert set(server.judged().values()) == {1}
    other = await process.ended(await process.begin(upload, mode="online"))
    assert other.id != runs[0].id, "read in another way it is another import"
    checks = set()
    for _ in range(3):
        process.clock.now_us += 1
        twice = [await process.begin(upload, Purpose.CHECK) for _ in range(2)]
        checks |= {(await process.ended(check)).id for check in twice}
    assert len(checks) >= 3


async def test_a_paused_import_goes_on_where_it_was(server: Server, new_process: Start, tmp_path: Path) -> None:
    process = await new_process().start()
    server.records_per_second = 400
    run = await process.begin(await process.upload(write_file(tmp_path, 500)))
    await process.when(run, lambda each: each.counts.sent >= 100)
    await process.wish(run, Wish.PAUSE)
    paused = await process.when(run, lambda each: each.state is State.PAUSED)
    assert 100 <= paused.counts.sent < 500
    sent = len(server.judged())
    assert paused.counts.sent == sent, "the counts are those of the server"
    await look_for_work(process)
    assert len(server.judged()) == sent
    await process.wish(run, Wish.RUN)
    ended = await process.ended(run)
    assert (ended.state, ended.counts) == (State.DONE, Counts(sent=500, succeeded=500))
    assert set(server.judged().values()) == {1}


async def until_no_credentials(mongo: Mongo) -> None:
    """Wait until they are deleted, right after the end of an import is stored."""

    async def are_deleted() -> bool:
        return not await mongo.collection(CREDENTIALS).count_documents({})

    await until(are_deleted)


async def look_for_work(process: Process) -> None:
    """Let a worker look for work twice more."""
    for _ in range(2):
        await process.worker.run_once()


async def test_a_cancelled_import_sends_no_more_and_can_be_taken_up_again(
    server: Server, new_process: Start, tmp_path: Path, mongo: Mongo
) -> None:
    process = await new_process().start()
    server.records_per_second = 400
    upload = await process.upload(write_file(tmp_path, 500))
    run = await process.begin(upload)
    await process.when(run, lambda each: each.counts.sent >= 100)
    await process.wish(run, Wish.CANCEL)
    cancelled = await process.ended(run)
    assert (cancelled.state, cancelled.can_pause, cancelled.can_resume) == (State.CANCELLED, False, False)
    await until_no_credentials(mongo)
    assert len(server.judged()) == cancelled.counts.sent < 500
    again = await process.begin(upload)
    assert again.id == run.id
    ended = await process.ended(run)
    assert (ended.state, ended.counts.succeeded) == (State.DONE, 500)
    assert set(server.judged().values()) == {1}


async def test_another_process_goes_on_at_once_when_one_stops(
    server: Server, new_process: Start, tmp_path: Path
) -> None:
    """As in a rolling update: the lease is given back, the clock stands still."""
    first = await new_process().start()
    server.records_per_second = 400
    run = await first.begin(await first.upload(write_file(tmp_path, 400)))
    await first.when(run, lambda each: each.counts.sent >= 100)
    await first.stop()
    given_back = await first.find(run)
    assert (given_back.state, given_back.owner) == (State.WAITING, "")
    second = await new_process().start()
    ended = await second.ended(run)
    assert (ended.state, ended.counts.succeeded) == (State.DONE, 400)
    assert set(server.judged().values()) == {1}


@pytest.mark.parametrize("seed", range(4))
async def test_lost_responses_and_dying_processes_import_nothing_twice(
    server: Server, new_process: Start, tmp_path: Path, seed: int
) -> None:
    """Any response may be lost after the server has done its work, and any process may end in between."""
    chance = random.Random(seed)  # noqa: S311 - no secret

    def lose(request: httpx2.Request) -> None:
        if not request.url.path.endswith("token") and chance.random() < 0.15:
            raise httpx2.ReadError("cut")

    server.fails = lose
    process = await new_process().start()
    run = await process.begin(await process.upload(write_file(tmp_path, 2_000, bad=frozenset({7, 1_500}))))
    for _ in range(300):
        known = await process.find(run)
        if known.state.is_final:
            break
        if chance.random() < 0.3:
            await process.worker.stop()
            process = await new_process().start()
        await process.worker.run_once()
        await until_idle(process)
    ended = await process.find(run)
    assert (ended.state, ended.counts) == (State.DONE, Counts(sent=2_000, succeeded=1_998, failed=2))
    judged = server.judged()
    assert len(judged) == 2_000
    assert set(judged.values()) == {1}
    failed = [number async for number, _ in process.log.failed_records(run.id)]
    assert failed == [7, 1_500]


async def test_a_frozen_worker_that_comes_back_sends_nothing_twice(
    server: Server, new_process: Start, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers have the same import: one does not know yet that its lease has expired."""
    server.records_per_second = 400
    first = await new_process().start()
    run = await first.begin(await first.upload(write_file(tmp_path, 600)))
    await first.when(run, lambda each: each.counts.sent >= 100)

    async def hear_nothing(known: FileImport, *, lease_us: int) -> FileImport:
        assert lease_us
        return known

    monkeypatch.setattr(first.imports, "heartbeat", hear_nothing)
    clock.now_us += LEASE_US + 1
    second = await new_process().start()
    ended = await second.ended(run)
    assert (ended.state, ended.counts) == (State.DONE, Counts(sent=600, succeeded=600))
    assert ended.epoch == 2, "the second worker has taken it over"
    await until(lambda: not first.worker.running)
    assert set(server.judged().values()) == {1}
    assert len(server.judged()) == 600


async def test_refused_credentials_pause_an_import_and_those_of_who_resumes_it_are_used(
    server: Server, new_process: Start, tmp_path: Path
) -> None:
    """Breaks if a rotated secret fails the records, or if nobody can go on."""
    process = await new_process().start()
    server.refuses_tokens = httpx2.Response(401, json={"error": "invalid_client"})
    run = await process.begin(await process.upload(write_file(tmp_path, 50)))
    paused = await process.when(run, lambda each: each.state is State.PAUSED)
    assert (paused.needs_sign_in, paused.counts) == (True, Counts())
    assert "no longer accepted" in (paused.problem or "")
    server.refuses_tokens = None
    await process.wish(run, Wish.RUN)
    assert (await process.ended(run)).counts.succeeded == 50


async def test_services_that_are_away_are_waited_for(
    server: Server, new_process: Start, tmp_path: Path, clock: Clock
) -> None:
    process = await new_process().start()

    def away(_: httpx2.Request) -> None:
        raise httpx2.ConnectError("no")

    server.fails = away
    run = await process.begin(await process.upload(write_file(tmp_path, 50)))
    waiting = await process.when(run, lambda each: each.problem is not None and each.state is State.WAITING)
    assert "cannot reach" in (waiting.problem or "")
    server.fails = lambda _: None
    clock.now_us += 60 * SECOND_US
    ended = await process.ended(run)
    assert (ended.state, ended.problem, ended.counts.succeeded) == (State.DONE, None, 50)


async def test_a_file_that_cannot_be_read_fails_with_its_line(new_process: Start, tmp_path: Path) -> None:
    process = await new_process().start()
    path = write_file(tmp_path, 30)
    path.write_text(path.read_text() + "x,y,2024-05-01T10:00:00Z,4556,1,1,too,many\n")
    failed = await process.ended(await process.begin(await process.upload(path)))
    assert (failed.state, failed.counts) == (State.FAILED, Counts())
    assert "line 32: 8 cells" in (failed.problem or "")
    assert str(tmp_path) not in (failed.problem or ""), "paths of the server are nobody's business"


async def test_an_import_whose_file_has_expired_says_so_and_goes_on_with_the_file_uploaded_again(
    server: Server, new_process: Start, tmp_path: Path, clock: Clock
) -> None:
    process = await new_process().start()
    path = write_file(tmp_path, 500)
    server.records_per_second = 400
    run = await process.begin(await process.upload(path))
    await process.when(run, lambda each: each.counts.sent >= 100)
    await process.wish(run, Wish.PAUSE)
    paused = await process.when(run, lambda each: each.state is State.PAUSED)
    clock.now_us += 7 * DAY_US
    await process.wish(run, Wish.RUN)
    failed = await process.ended(run)
    assert (failed.state, failed.counts) == (State.FAILED, paused.counts)
    assert "upload it again" in (failed.problem or "")
    again = await process.begin(await process.upload(path))
    assert again.id == run.id
    assert (await process.ended(run)).counts.succeeded == 500
    assert set(server.judged().values()) == {1}


async def test_the_jobs_of_a_mended_file_are_linked_to_the_old_one(
    server: Server, new_process: Start, tmp_path: Path
) -> None:
    process = await new_process().start()
    upload = await process.upload(write_file(tmp_path, 120), mends_job="old")
    await process.ended(await process.begin(upload, Purpose.CHECK))
    assert await process.links.mended_by(SITE, "old") == []
    await process.ended(await process.begin(upload))
    linked = await process.links.mended_by(SITE, "old")
    assert {link.job for link in linked} == set(server.jobs)
    for job in server.jobs:
        link = await process.links.mends(SITE, job)
        assert link is not None
        assert link.mends == "old"
    assert await process.links.mends(SITE + 1, next(iter(server.jobs))) is None


async def test_imports_of_one_site_share_half_of_its_limit(server: Server, new_process: Start, tmp_path: Path) -> None:
    """Two files at once are sent as fast as one: the other half is for tills."""
    assert [share_of(running) for running in (0, 1, 2, 4)] == [0.5, 0.5, 0.25, 0.125]
    server.records_per_second = 100
    asked: Counter[float] = Counter()
    process = await new_process().start()
    runs = []
    for name, mode in (("a", "online"), ("b", "offline")):
        directory = tmp_path / name
        directory.mkdir()
        runs.append(await process.begin(await process.upload(write_file(directory, 100)), mode=mode))
    loop = asyncio.get_running_loop()
    began = loop.time()
    for run in runs:
        asked[(await process.ended(run)).counts.succeeded] += 1
    # 200 records at 50 a second, of which the first requests need not wait.
    assert loop.time() - began >= 1.0
    assert asked == {100: 2}


async def test_credentials_are_encrypted_and_gone_when_the_import_has_ended(
    new_process: Start, tmp_path: Path, mongo: Mongo
) -> None:
    process = new_process()
    await process.spool.start()
    run = await process.begin(await process.upload(write_file(tmp_path, 20)))
    (stored,) = await mongo.collection(CREDENTIALS).find({}).to_list(None)
    assert b"s3cret-canary" not in repr(stored).encode()
    assert (await process.vault.get(run)) is not None
    await process.worker.start()
    await process.ended(run)
    await until_no_credentials(mongo)
    everything = [
        document
        for name in await mongo.client[mongo.collection("x").database.name].list_collection_names()
        for document in await mongo.collection(name).find({}).to_list(None)
    ]
    assert everything
    assert "s3cret-canary" not in repr(everything)


# Texts that a spreadsheet would take for formulas, and such that only look as if they had been kept from it.
FORMULAS = ("+49 151 1", "=1+1", "-5 b", "@home", "'=x", "''-y", "'quoted'", "plain")


async def test_texts_of_a_file_of_failed_records_come_back_as_they_were(
    server: Server, new_process: Start, tmp_path: Path
) -> None:
    headings = columns("orders", has_records=True)
    path = tmp_path / "failed.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(headings)
        for number, text in enumerate(FORMULAS):
            line = {"productId": text, "quantity": "1", "unitPrice": "-9.90"}
            order = {"id": f"{text}{number}", "userId": text, "dateTime": "2026-11-30T10:00:00Z", "lineItems": [line]}
            failed = RecordResult(index=number, user_id=text, outcome="failed", faults=[], record=order)
            writer.writerows(neutralise(row, headings) for row in rows(failed, "orders", has_records=True))
    process = await new_process().start()
    await process.ended(await process.begin(await process.upload(path, mends_job="old")))
    sent = [record for job in server.jobs.values() for record in job]
    assert [(each["id"], each["userId"], each["lineItems"][0]["productId"]) for each in sent] == [
        (f"{text}{number}", text, text) for number, text in enumerate(FORMULAS)
    ]
    assert {each["lineItems"][0]["unitPrice"] for each in sent} == {"-9.90"}
