"""The import of a file against a server that loses responses, and through interruptions at any point."""

import csv
import datetime as dt
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
import xlsxwriter
from import_server import HEADER, Server, run, write_file

from tillstream import Client, NotAllowedError, UnreachableError
from tillstream import importer as importing
from tillstream import manifest as manifests
from tillstream.importer import Importer, ImportOptions, Progress, StoppedError
from tillstream.manifest import Manifest, ManifestLockedError, Tally
from tillstream.pace import Pace, Sent
from tillstream.packing import Batch
from tillstream.report import write_failed
from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source


def test_a_file_is_imported_and_its_failures_are_those_of_its_rows(tmp_path: Path) -> None:
    server, bad = Server(), frozenset({0, 99, 100, 349})
    path = write_file(tmp_path, 350, bad=bad)
    manifest = Manifest(tmp_path / "m.sqlite")
    progress = run(server, path, manifest)
    assert progress.is_done
    assert (progress.tally.succeeded, progress.tally.failed, progress.total) == (346, 4, 350)
    assert [number for number, _ in manifest.failed_records()] == sorted(bad)
    assert manifest.fault_table() == [("PRODUCT_NOT_FOUND", "/lineItems/*/productId", "zz", 4)]
    source = open_source(path, FlatOptions("orders", {}))
    assert write_failed(tmp_path / "failed.csv", source, manifest) == 4
    lines = list(csv.reader((tmp_path / "failed.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [line[0] for line in lines] == ["id", "o0", "o99", "o100", "o349"]
    assert "PRODUCT_NOT_FOUND" in lines[1][-1]
    manifest.close()


@pytest.mark.parametrize("name", ["failed.xlsx", "failed.csv"])
def test_failed_records_of_a_spreadsheet_are_those_of_the_spreadsheet(tmp_path: Path, name: str) -> None:
    """Breaks if days, times, long ids or numbers become other ones on the way to a person and back."""
    path = tmp_path / "sales.xlsx"
    with xlsxwriter.Workbook(str(path)) as workbook:
        sheet = workbook.add_worksheet()
        day = workbook.add_format({"num_format": "dd.mm.yyyy"})
        time = workbook.add_format({"num_format": "dd.mm.yyyy hh:mm"})
        sheet.write_row(0, 0, HEADER)
        for line, style in enumerate((day, time), 1):
            sheet.write_row(line, 0, [f"00012345678901234567{line}", "u", "", "zz", 2, 0.1 + 0.2])
            sheet.write_datetime(line, 2, dt.datetime(2026, 5, 1, 10 * (line - 1)), style)  # noqa: DTZ001
    manifest = Manifest(None)
    assert run(Server(), path, manifest).tally.failed == 2
    source = open_source(path, FlatOptions("orders", {}))
    assert write_failed(tmp_path / name, source, manifest) == 2
    again = open_source(tmp_path / name, FlatOptions("orders", {}))
    assert again.count() == 2
    assert [json.loads(record.json) for record in again.records()] == [
        json.loads(record.json) for record in source.records()
    ]
    manifest.close()


@pytest.mark.parametrize("name", ["failed.json", "failed.ndjson"])
def test_failed_records_of_json_are_imported_again_without_their_errors(tmp_path: Path, name: str) -> None:
    """Breaks if the texts of the errors are sent to the server, or if a number becomes another one."""
    line = '{{"id":"o{0}","n":[{{"_errors":1.10}}],"lineItems":[{{"productId":"{1}","quantity":1.0}}]}}'
    texts = [line.format(number, "zz" if number else "4556") for number in range(3)]
    path = tmp_path / f"sales{Path(name).suffix}"
    path.write_text("[" + ",\n".join(texts) + "]" if path.suffix == ".json" else "\n".join(texts))
    server, manifest = Server(), Manifest(None)
    assert run(server, path, manifest).tally.failed == 2
    failed = tmp_path / name
    assert write_failed(failed, open_source(path, FlatOptions("orders", {})), manifest) == 2
    assert failed.read_text().count("PRODUCT_NOT_FOUND") == 2
    again = open_source(failed, FlatOptions("orders", {}))
    assert again.count() == 2
    assert [record.json.decode() for record in again.records()] == texts[1:]
    manifest.close()


def test_a_record_without_an_outcome_is_among_the_failed_ones(tmp_path: Path) -> None:
    """Its job ended by its deadline; the status API names no fault of it."""
    server, path, manifest = Server(), write_file(tmp_path, 3), Manifest(None)
    server.unprocessed = frozenset({"o1"})
    assert run(server, path, manifest).tally.failed == 1
    assert [(number, faults[0].code) for number, faults in manifest.failed_records()] == [(1, "UNPROCESSED")]
    manifest.close()


def job_made(age: dt.timedelta) -> str:
    """Return the id of a job that was made so long ago: a UUID of version 1."""
    ticks = int((dt.datetime.now(dt.UTC) - age).timestamp() * 1e7) + 0x01B21DD213814000
    fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, 0x80, 0, 1)
    return str(UUID(fields=fields, version=1))


def resume(directory: Path, *jobs: str) -> tuple[Manifest, Progress]:
    """Go on with an import whose requests of two records have become these jobs, which the status API does not know."""
    server = Server()
    server.forgotten = frozenset(jobs)
    path = write_file(directory, 2 * len(jobs))
    manifest = Manifest(None)
    for number, job in enumerate(jobs):
        manifest.accept(manifest.prepare(Batch(2 * number, 2, b"x")), job)
    return manifest, run(server, path, manifest)


def test_an_import_ends_though_the_outcome_of_old_jobs_is_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if an import that is resumed after the status API has deleted its jobs can never end."""
    monkeypatch.setattr(importing, "MAX_LAG_S", 0)
    manifest, progress = resume(tmp_path, job_made(dt.timedelta(days=31)), job_made(dt.timedelta(hours=25)))
    assert progress.is_done
    assert (progress.tally.sent, progress.tally.succeeded, progress.tally.failed) == (4, 0, 4)
    assert [number for number, _ in manifest.failed_records()] == [0, 1, 2, 3]
    assert manifest.fault_table() == [("OUTCOME_UNKNOWN", "", None, 4)]
    manifest.close()


def test_the_status_api_is_waited_for_once_though_many_jobs_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks if each of a thousand deleted jobs is waited for separately: for hours."""
    monkeypatch.setattr(importing, "MAX_LAG_S", 0.1)
    server, jobs = Server(), [job_made(dt.timedelta(days=31)) for _ in range(12)]
    asked = 0

    def count(request: httpx2.Request) -> None:
        nonlocal asked
        asked += "/job/" in request.url.path

    server.fails, server.forgotten = count, frozenset(jobs)
    manifest, path = Manifest(None), write_file(tmp_path, 12)
    for number, job in enumerate(jobs):
        manifest.accept(manifest.prepare(Batch(number, 1, b"x")), job)
    assert run(server, path, manifest).is_done
    assert len(jobs) <= asked <= len(jobs) + importing.FOLLOWERS
    manifest.close()


def test_a_job_that_is_not_known_yet_can_be_waited_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "MAX_LAG_S", 0)
    for job in (job_made(dt.timedelta(hours=23)), str(uuid4())):
        with pytest.raises(StoppedError, match="not known to the status API yet"):
            resume(tmp_path, job)


class Counted(Pace):
    """Counts what was started."""

    started = 0

    def start(self, cost: int) -> Sent:
        self.started += cost
        return super().start(cost)


def test_each_request_to_the_status_api_is_counted(tmp_path: Path) -> None:
    """Breaks if good jobs take twice as much of the limit as they need, or the failures of bad ones nothing."""
    server, path = Server(), write_file(tmp_path, 500, bad=frozenset({3, 120}))
    asked: list[str] = []
    server.fails = lambda request: asked.append(request.url.path) if "/job/" in request.url.path else None
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    manifest = Manifest(None)
    with Client("https://t.example", "c", "s", "k", http=http) as client:
        importer = Importer(client, open_source(path, FlatOptions("orders", {})), manifest, ImportOptions())
        pace = importer._status_pace = Counted(importing.STATUS_REQUESTS_PER_S)
        *_, last = importer.run(500)
    assert (last.tally.succeeded, last.tally.failed) == (498, 2)
    assert pace.started == len(asked) == 5 + 2
    manifest.close()


def test_the_share_can_be_changed_while_an_import_runs(tmp_path: Path) -> None:
    """Breaks if an import that is to leave room for another one goes on as fast as before."""
    server, path, manifest = Server(records_per_second=200), write_file(tmp_path, 300), Manifest(None)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", "s", "k", http=http) as client:
        importer = Importer(client, open_source(path, FlatOptions("orders", {})), manifest, ImportOptions())
        importer.set_share(0.5)
        started = time.monotonic()
        for progress in importer.run(300):
            last = progress
            importer.set_share(1.0 if progress.tally.sent >= 200 else 0.5)
    assert (last.tally.succeeded, len(server.jobs)) == (300, 3)
    assert time.monotonic() - started >= 1, "the second request has to wait for room"
    manifest.close()


@pytest.mark.parametrize("seed", range(15))
def test_lost_responses_and_restarts_import_nothing_twice(tmp_path: Path, seed: int) -> None:
    """Any response may be lost after the server has done its work; the next run goes on with what is stored."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    server = Server()
    path = write_file(tmp_path, 1000, bad=frozenset({7}))

    def lose(request: httpx2.Request) -> None:
        if not request.url.path.endswith("token") and chance.random() < 0.15:
            raise httpx2.ReadError("cut")

    server.fails = lose
    for _ in range(200):
        manifest = Manifest(tmp_path / "m.sqlite")
        try:
            progress = run(server, path, manifest, stop_after=chance.choice([None, None, 1, 3]))
        except (UnreachableError, StoppedError):
            continue
        finally:
            manifest.close()
        if progress.is_done:
            break
    assert (progress.tally.succeeded, progress.tally.failed) == (999, 1)
    judged = server.judged()
    assert len(judged) == 1000
    assert set(judged.values()) == {1}


def test_a_second_run_sends_nothing(tmp_path: Path) -> None:
    server, path = Server(), write_file(tmp_path, 50)
    for _ in range(2):
        manifest = Manifest(tmp_path / "m.sqlite")
        assert run(server, path, manifest).tally.succeeded == 50
        manifest.close()
    assert len(server.jobs) == 1


def test_a_dry_run_makes_no_job(tmp_path: Path) -> None:
    server, path = Server(), write_file(tmp_path, 150, bad=frozenset({149}))
    manifest = Manifest(None)
    progress = run(server, path, manifest, dry_run=True)
    assert (progress.tally.succeeded, progress.tally.failed) == (149, 1)
    assert (server.jobs, sorted(server.validated)) == ({}, [50, 100])
    manifest.close()


def test_a_dry_run_keeps_to_the_limit_of_dry_runs(tmp_path: Path) -> None:
    """Breaks if it is paced by the limit of imports, where validating has one of its own: it would be refused."""
    server, path = Server(), write_file(tmp_path, 100)
    server.dry_records_per_second = 60
    manifest = Manifest(None)
    started = time.monotonic()
    assert run(server, path, manifest, dry_run=True).tally.succeeded == 100
    assert server.validated == [60, 40]
    assert time.monotonic() - started >= 1, "the second request has to wait for room"
    manifest.close()


def test_a_refused_request_fails_its_records_and_not_the_others(tmp_path: Path) -> None:
    server, path = Server(), write_file(tmp_path, 30)
    server.refuses = httpx2.Response(413, json={"code": "PAYLOAD_TOO_LARGE", "detail": "too large"})
    manifest = Manifest(None)
    progress = run(server, path, manifest)
    assert (progress.tally.succeeded, progress.tally.failed) == (0, 30)
    assert manifest.fault_table() == [("PAYLOAD_TOO_LARGE", "", None, 30)]
    manifest.close()


def test_a_refused_client_ends_the_import(tmp_path: Path) -> None:
    server, path = Server(), write_file(tmp_path, 30)
    server.refuses = httpx2.Response(403, json={"code": "FORBIDDEN", "detail": "no scope"})
    manifest = Manifest(None)
    with pytest.raises(NotAllowedError):
        run(server, path, manifest)
    manifest.close()


def test_a_refused_token_fails_no_record(tmp_path: Path) -> None:
    """Breaks if a 400 of the token endpoint is taken for one of the import: a hundred records would be failed."""
    server, path = Server(), write_file(tmp_path, 30)

    def expire(request: httpx2.Request) -> None:
        if request.url.path.endswith("/limits"):
            server.refuses = httpx2.Response(401, json={"code": "UNAUTHORIZED", "detail": "revoked"})
            server.refuses_tokens = httpx2.Response(400, json={"error": "unauthorized_client"})

    server.fails = expire
    manifest = Manifest(None)
    with pytest.raises(NotAllowedError):
        run(server, path, manifest)
    assert manifest.tally() == Tally(0, 0, 0, 0)
    assert manifest.fault_table() == []
    server.fails = lambda _: None
    server.refuses = server.refuses_tokens = None
    assert run(server, path, manifest).tally.succeeded == 30
    manifest.close()


def test_a_key_of_other_bytes_is_replaced(tmp_path: Path) -> None:
    """Breaks if an import that another version of the program began cannot go on."""
    server, path = Server(), write_file(tmp_path, 10)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    manifest = Manifest(tmp_path / "m.sqlite")
    with Client("https://t.example", "c", "s", "k", http=http) as client:
        source = open_source(path, FlatOptions("orders", {}))
        importer = Importer(client, source, manifest, ImportOptions())
        first = True
        original = manifest.prepare

        def prepare(batch: Any) -> Any:
            nonlocal first
            stored = original(batch)
            if first:
                server.by_key[stored.key] = (b"other", "j")
            first = False
            return stored

        manifest.prepare = prepare  # type: ignore[method-assign]
        for progress in importer.run(10):
            last = progress
    assert last.tally.succeeded == 10
    manifest.close()


def test_two_processes_do_not_import_the_same_file(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path / "m.sqlite")
    with pytest.raises(ManifestLockedError):
        Manifest(tmp_path / "m.sqlite")
    manifest.close()
    Manifest(tmp_path / "m.sqlite").close()
    assert (tmp_path / "m.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("attempt", range(8))
def test_of_many_that_begin_at_once_one_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempt: int) -> None:
    """Breaks if two import the same file, or if all of them give up."""
    monkeypatch.setattr(manifests, "LOCK_TIMEOUT_S", 0.3)
    started, others = threading.Barrier(6), threading.Semaphore(0)

    def open_it(_: int) -> bool:
        started.wait()
        try:
            manifest = Manifest(tmp_path / f"{attempt}.sqlite")
        except ManifestLockedError:
            others.release()
            return False
        # It stays open until the others have given up: a lock that is freed may be taken.
        opened = all(others.acquire(timeout=10) for _ in range(5))
        manifest.close()
        return opened

    with ThreadPoolExecutor(6) as executor:
        assert Counter(executor.map(open_it, range(6))) == {True: 1, False: 5}


def test_an_import_that_begins_once_more_stays_locked(tmp_path: Path) -> None:
    """Breaks if `--again` gives another process the time to import the same file."""
    path = tmp_path / "m.sqlite"
    manifest = Manifest(path)
    manifest.accept(manifest.prepare(Batch(0, 5, b"x")), "j")
    manifest.put("done", "1")
    manifest.clear()
    assert (manifest.get("done"), manifest.next_record, manifest.tally()) == (None, 0, Tally(0, 0, 0, 0))
    with pytest.raises(ManifestLockedError):
        Manifest(path)
    manifest.close()
