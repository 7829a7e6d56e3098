"""The demo sends what the documents print, and reports each difference."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from rich.console import Console as RichConsole
from typer.testing import CliRunner

from sandbox import demo, paths
from sandbox.__main__ import application
from sandbox.console import Console
from sandbox.demo import codes, imports
from sandbox.demo.cases import API_KEY, CASES, CLIENT_ID, CLIENT_SECRET, Case, load_example
from sandbox.demo.codes import Check, Client


def test_the_fourth_example_keeps_its_stray_brace() -> None:
    text = load_example("orders-4").decode()
    _, end = json.JSONDecoder().raw_decode(text)
    assert text[end:].split() == ["}"]


def test_every_printed_payload_is_sent() -> None:
    payloads = [path.read_bytes() for path in (paths.DEMO / "examples").glob("*.json")]
    assert len(payloads) == 6  # orders #2 and #3 differ in their mode only
    assert set(payloads) <= {case.body for case in CASES}


def test_the_demo_tenant_knows_what_the_demo_uses() -> None:
    tenants = json.loads((paths.DEMO / "tenants.json").read_text(encoding="utf-8"))
    client = next(client for client in tenants["clients"] if client["clientId"] == CLIENT_ID)
    site = next(site for site in tenants["sites"] if site["site"] == client["site"])
    assert (client["secret"], client["apiKeys"], site["apiKeys"][0]["apiKey"]) == (CLIENT_SECRET, [API_KEY], API_KEY)


def test_the_catalogue_has_the_printed_products_and_not_the_printed_failures() -> None:
    with (paths.DEMO / "catalogue.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for site in ("608", "609"):
        products = {row["productId"] for row in rows if row["site"] == site}
        assert products == {"4556", "4557", "4558", "content__662", "content__680", "content__122"}


class FakeClient(Client):
    """A client whose calls all get the same response."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(cast("aiohttp.ClientSession", None))
        self.response = status, body
        self.calls = 0

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
        del method, path, options
        self.calls += 1
        return self.response


@pytest.mark.parametrize("response", [(404, {"code": "NOT_FOUND"}), (200, {"status": "FAILED"}), (200, {})])
async def test_codes_that_cannot_come_any_more_are_not_waited_for(response: tuple[int, dict[str, Any]]) -> None:
    client = FakeClient(*response)
    await client.codes("All codes at once", {}, is_enough=lambda body: body.get("status") == "COMPLETED")
    assert client.calls == 1
    assert [row.is_as_promised for row in client.checks] == [False]


@pytest.mark.parametrize(
    ("ids", "found", "is_as_promised"),
    [(["a", "a"], 2, True), (["a", "b"], 2, False), (["a", "a"], 1, False)],
    ids=["as promised", "two purchase orders", "one transaction"],
)
async def test_both_transactions_must_stand_on_one_purchase_order(
    ids: list[str], found: int, *, is_as_promised: bool
) -> None:
    client = FakeClient(200, {"state": "OPEN", "totals": {"transactions": found}})
    await client.purchase_order(ids)
    assert [row.is_as_promised for row in client.checks] == [is_as_promised]


def build_report(case: Case) -> dict[str, Any]:
    """Build the job's report that the document prints for this case."""
    records = {"total": case.total, "failed": len(case.warnings), "success": case.total - len(case.warnings)}
    job = {"terminal": True, "attributes": {"mode": case.mode, "type": case.type}, "baggage": {"records": records}}
    result = [{"message": warning} for warning in case.warnings]
    return {"summary": {"job-status": case.status, "job": job}, "result": result}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_thing_that_is_not_as_printed_is_told(case: Case) -> None:
    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "": lambda report: report,
        "job-status": lambda report: report["summary"].update({"job-status": "x"}),
        "attributes": lambda report: report["summary"]["job"]["attributes"].clear(),
        "records": lambda report: report["summary"]["job"]["baggage"]["records"].update(total=0),
        "warnings": lambda report: report["result"].append({"message": "x"}),
    }
    for subject, change in changes.items():
        report = build_report(case)
        change(report)
        outcome = imports.Outcome(case)
        imports._read_report(outcome, report)
        imports._compare(outcome, report)
        assert [difference.split(" is ")[0] for difference in outcome.differences] == [subject] * bool(subject)


@pytest.mark.parametrize("imports", [True, False])
@pytest.mark.parametrize("of_codes", [True, False])
@pytest.mark.parametrize("of_sales", [True, False])
def test_the_demo_fails_where_any_part_does(
    monkeypatch: pytest.MonkeyPatch, *, imports: bool, of_codes: bool, of_sales: bool
) -> None:
    for half, result in (("show_imports", imports), ("show_codes", of_codes), ("show_sales", of_sales)):

        async def show(_base: str, _console: Console, result: bool = result) -> bool:  # noqa: FBT001 - bound to the loop's value
            return result

        monkeypatch.setattr(demo, half, show)
    done = CliRunner().invoke(application, ["demo", "--base", "http://127.0.0.1:1"])
    assert done.exit_code == (0 if imports and of_codes and of_sales else 1)


@pytest.mark.parametrize("body", [b"<p>Welcome!</p>", b"[]", b"{}"])
async def test_a_door_that_is_somebody_elses_is_told_in_a_line(body: bytes) -> None:
    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    output = io.StringIO()
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert not await demo.show_demo(base, Console(RichConsole(file=output, width=200)))
    lines = [line for line in output.getvalue().splitlines() if not line.startswith("waiting for")]
    assert [line.partition(":")[0] for line in lines] == [
        "The demo could not run",
        "The demo of codes could not run",
        "The demo of the ledger could not run",
    ]


@pytest.mark.parametrize("width", [80, 120, 190])
def test_the_tables_are_shown_whole_however_narrow_the_screen(width: int) -> None:
    outcomes = [
        imports.Outcome(
            case, "202 Total records = 2. Success = 2. Failed = 0", "PROCESSING_WITH_WARNING", terminal=True
        )
        for case in CASES
    ]
    row = Check(
        "The next one of the day is appended", "POST …/orders (2 DEMO-INSTANT)", "202 PROCESSING", is_as_promised=True
    )
    for table in (imports._table(outcomes), codes._table([row])):
        output = io.StringIO()
        RichConsole(width=width, file=output, no_color=True).print(table)
        lines = [line for line in output.getvalue().splitlines() if line.startswith(("|", "+"))]
        assert all(len(line) <= width and line.endswith(("|", "+")) for line in lines)
