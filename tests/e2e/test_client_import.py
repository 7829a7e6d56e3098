"""`tillstream import` against a whole installation: files in, outcomes out, whatever happens in between."""

import asyncio
import csv
import json
import signal
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from tests.e2e.command import Command
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation

HEADER = ["id", "userId", "dateTime", "productId", "quantity", "unitPrice"]
TIME = "2024-05-01T10:00:00+02:00"


@pytest.fixture
def command(base: str, tmp_path: Path) -> Command:
    return Command(base, tmp_path)


def rows(count: int, *, product: str = "4556", prefix: str | None = None) -> list[list[Any]]:
    name = prefix or f"c{uuid4().hex[:8]}"
    return [[f"{name}-{number}", "u1", TIME, product, "1", "9.99"] for number in range(count)]


def write_csv(path: Path, lines: Iterable[Iterable[Any]], **options: Any) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, **options).writerows([HEADER, *lines])
    return path


def test_a_file_with_faults_is_imported_mended_and_imported_again(command: Command) -> None:
    """Breaks if the failed records cannot be imported as they were written, once they are mended in a spreadsheet."""
    lines = rows(5)
    lines[1][3], lines[3][4] = "zz-unknown", "0"
    lines.insert(5, [lines[4][0], "", "", "4557", "2", "1.5"])
    path = write_csv(command.directory / "sales.csv", lines)
    done = command.run("import", str(path), "--kind", "orders", "--failed", "failed.xlsx")
    assert done.code == 3, done
    assert "5 records: 3 accepted, 2 failed" in done.out
    for part in ("PRODUCT_NOT_FOUND", "zz-unknown", "INVALID_QUANTITY", "/lineItems/*/quantity"):
        assert part in done.out
    cells = CalamineWorkbook.from_path(str(command.directory / "failed.xlsx")).get_sheet_by_index(0).to_python()
    assert cells[0] == [*HEADER, "_errors"]
    assert [row[0] for row in cells[1:]] == [lines[1][0], lines[3][0]]
    assert "No product is found" in str(cells[1][-1])
    cells[1][3], cells[2][4] = "4556", 1
    with xlsxwriter.Workbook(str(command.directory / "mended.xlsx")) as workbook:
        sheet = workbook.add_worksheet()
        for number, row in enumerate(cells):
            sheet.write_row(number, 0, row)
    again = command.run("import", "mended.xlsx", "--kind", "orders", "--json")
    assert again.code == 0, again
    final = again.events[-1]
    assert (final["event"], final["accepted"], final["failed"], final["throttled"]) == ("done", 2, 0, 0)


@pytest.mark.long
def test_the_same_command_again_sends_nothing(command: Command) -> None:
    path = write_csv(command.directory / "sales.csv", rows(3))
    first = command.run("import", str(path), "--kind", "orders", "--json")
    second = command.run("import", str(path), "--kind", "orders", "--json")
    assert (first.code, second.code) == (0, 0)
    assert "imported already" in second.err
    assert [event["event"] for event in second.events] == ["progress", "done"]
    assert second.events[-1]["recordsPerSecond"] == 0
    third = command.run("import", str(path), "--kind", "orders", "--again", "--json")
    assert third.code == 0
    assert "imported already" not in third.err


async def test_a_dry_run_imports_nothing(command: Command, customer: Customer) -> None:
    lines = rows(3)
    lines[0][3] = "zz"
    path = write_csv(command.directory / "sales.csv", lines)
    before = await newest_job(customer)
    done = await asyncio.to_thread(
        command.run, "import", str(path), "--kind", "orders", "--dry-run", "--failed", "f.csv"
    )
    assert done.code == 3, done
    assert "2 would be accepted, 1 failed" in done.out
    assert "PRODUCT_NOT_FOUND" in (command.directory / "f.csv").read_text(encoding="utf-8-sig")
    assert await newest_job(customer) == before


async def newest_job(customer: Customer) -> str | None:
    reply = await customer._status("jobs", None, {"rows": 1})
    return reply.json["result"][0]["jobId"] if reply.json["result"] else None


def test_a_pipe_is_imported(command: Command) -> None:
    records = [
        {"orderId": f"o{n}", "returnId": uuid4().hex, "userId": "u", "dateTime": TIME,
         "lineItems": [{"productId": "content__662", "quantity": 1, "unitPrice": 1.10}]}
        for n in range(3)
    ]  # fmt: skip
    text = "".join(json.dumps(record) + "\r\n" for record in records)
    done = command.run("import", "-", "--kind", "returns", stdin=text.encode())
    assert done.code == 0, done
    assert "3 records: 3 accepted, 0 failed" in done.out
    assert list((command.directory / "state" / "spool").iterdir()) == []


def test_exit_codes_say_what_happened(command: Command, base: str, tmp_path: Path) -> None:
    path = write_csv(command.directory / "sales.csv", rows(2, product="zz"))
    assert command.run("import", str(path), "--kind", "orders").code == 4
    assert command.run("import", "missing.csv", "--kind", "orders").code == 2
    assert command.run("import", str(path)).code == 2
    wrong = Command(base, tmp_path, variables={"TILLSTREAM_CLIENT_SECRET": "wr0ng-canary"})
    refused = wrong.run("import", str(path), "--kind", "orders", "--again")
    assert refused.code == 5
    assert "INVALID_CLIENT" in refused.err
    assert "wr0ng-canary" not in refused.out + refused.err
    nobody = Command("http://127.0.0.1:9", tmp_path)
    unreached = nobody.run("import", str(path), "--kind", "orders")
    assert unreached.code == 5
    assert "cannot reach http://127.0.0.1:9" in unreached.err


def test_credentials_are_stored_for_their_owner_only(command: Command, base: str) -> None:
    stored = command.run("login")
    assert stored.code == 0, stored
    path = command.directory / "config" / "credentials.toml"
    assert path.stat().st_mode & 0o777 == 0o600
    names = ("BASE_URL", "CLIENT_ID", "CLIENT_SECRET", "API_KEY")
    later = Command(base, command.directory, variables={f"TILLSTREAM_{name}": "" for name in names})
    csv_file = write_csv(command.directory / "sales.csv", rows(1))
    assert later.run("import", str(csv_file), "--kind", "orders", "--dry-run").code == 0
    path.chmod(0o644)
    unsafe = later.run("import", str(csv_file), "--kind", "orders", "--dry-run")
    assert unsafe.code == 2
    assert "chmod 600" in unsafe.err


@pytest.mark.long
def test_a_stopped_import_goes_on(command: Command) -> None:
    """SIGTERM ends it with 75 and what is known; the same command does the rest."""
    path = write_csv(command.directory / "sales.csv", rows(300))
    process = command.start("import", str(path), "--kind", "orders", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["sent"] > 0:
            break
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    assert "the same command goes on" in err
    assert json.loads(out.splitlines()[-1])["event"] == "stopped"
    done = command.run("import", str(path), "--kind", "orders", "--json")
    assert done.code == 0, done
    assert "going on after" in done.err
    assert done.events[-1]["accepted"] == 300


@pytest.mark.long
async def test_killed_and_resumed_each_record_is_imported_once(
    command: Command, customer: Customer, installation: Installation
) -> None:
    """Breaks: kill -9 at three places, ingest and the broker restarted in between.

    Must hold: each record is judged exactly once; known by the jobs that the status API lists, and their records.
    """
    prefix = f"k{uuid4().hex[:8]}"
    path = write_csv(command.directory / "sales.csv", rows(800, prefix=prefix))
    for number in range(3):
        process = command.start("import", str(path), "--kind", "orders", "--json")
        await asyncio.to_thread(_wait_for_records, process, (number + 1) * 100)
        process.kill()
        process.communicate()
        if number == 1:
            await asyncio.to_thread(installation.run, "stop", "ingest")
            await asyncio.to_thread(installation.run, "start", "ingest")
    done = await asyncio.to_thread(command.run, "import", str(path), "--kind", "orders", "--json")
    assert done.code == 0, done
    seen = await imported_ids(customer, prefix)
    assert sorted(seen) == sorted(f"{prefix}-{number}" for number in range(800))


def _wait_for_records(process: Any, count: int) -> None:
    for line in process.stdout:
        if json.loads(line).get("sent", 0) >= count:
            return


async def imported_ids(customer: Customer, prefix: str) -> list[str]:
    """Return the ids of all records of all jobs that the status API knows, each as often as it was judged."""
    found: list[str] = []
    jobs, page = [], None
    deadline = monotonic() + 60
    while True:
        params = {"rows": 1000} | ({"page": page} if page else {})
        reply = await customer._status("jobs", None, params)
        assert reply.status in (200, 429)
        assert monotonic() < deadline
        if reply.status == 429:
            await asyncio.sleep(0.1)
            continue
        jobs += [job["jobId"] for job in reply.json["result"]]
        page = reply.json["pagination"]["nextPageToken"]
        if page is None:
            break
    for job in jobs:
        for outcome in ("succeeded", "failed", "unprocessed"):
            reply = await customer.records(job, outcome=outcome, rows=1000)
            while reply.status == 429:
                await asyncio.sleep(0.1)
                reply = await customer.records(job, outcome=outcome, rows=1000)
            found += [row["id"] for row in reply.json["result"] if str(row.get("id", "")).startswith(prefix)]
    return found


def test_the_secret_is_in_no_argument_and_no_output(command: Command) -> None:
    path = write_csv(command.directory / "sales.csv", rows(1))
    process = command.start("import", str(path), "--kind", "orders")
    arguments = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, err = process.communicate(timeout=60)
    secret = command.tenant.secret
    assert secret.encode() not in arguments
    assert secret not in out + err
    stored = [each.read_bytes() for each in (command.directory / "state").rglob("*") if each.is_file()]
    assert stored
    assert not any(secret.encode() in content for content in stored)
