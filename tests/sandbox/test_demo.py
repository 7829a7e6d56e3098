"""What the demo sends is what the document prints."""

import asyncio
import csv
import io
import json
from collections.abc import Callable
from typing import Any, cast

import aiohttp
import pytest
from rich.console import Console
from typer.testing import CliRunner

from sandbox import demo, paths
from sandbox.__main__ import application
from sandbox.demo import codes, story
from sandbox.demo.cases import API_KEY, CASES, CLIENT_ID, CLIENT_SECRET, Case, printed
from sandbox.demo.codes import Row, Shopper
from sandbox.screen import Screen


def test_the_fourth_example_keeps_its_stray_brace() -> None:
    text = printed("orders-4").decode()
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


class Shop(Shopper):
    """A customer whose calls get one answer, whatever they ask."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        super().__init__(cast("aiohttp.ClientSession", None))
        self.answer = status, body
        self.calls = 0

    async def call(self, method: str, path: str, **what: Any) -> tuple[int, dict[str, Any]]:
        del method, path, what
        self.calls += 1
        return self.answer


@pytest.mark.parametrize("answer", [(404, {"code": "NOT_FOUND"}), (200, {"status": "FAILED"}), (200, {})])
async def test_codes_that_cannot_come_any_more_are_not_waited_for(answer: tuple[int, dict[str, Any]]) -> None:
    shop = Shop(*answer)
    await shop.codes("All codes at once", {}, is_enough=lambda body: body.get("status") == "COMPLETED")
    assert shop.calls == 1
    assert [row.is_kept for row in shop.rows] == [False]


@pytest.mark.parametrize(
    ("bought", "found", "is_kept"),
    [(["a", "a"], 2, True), (["a", "b"], 2, False), (["a", "a"], 1, False)],
    ids=["as promised", "two purchase orders", "one transaction"],
)
async def test_both_transactions_must_stand_on_one_purchase_order(
    bought: list[str], found: int, *, is_kept: bool
) -> None:
    shop = Shop(200, {"state": "OPEN", "totals": {"transactions": found}})
    await shop.purchase_order(bought)
    assert [row.is_kept for row in shop.rows] == [is_kept]


def a_report(case: Case) -> dict[str, Any]:
    """A job's report as the document prints it for this case."""
    records = {"total": case.total, "failed": len(case.warnings), "success": case.total - len(case.warnings)}
    job = {"terminal": True, "attributes": {"mode": case.mode, "type": case.type}, "baggage": {"records": records}}
    result = [{"message": warning} for warning in case.warnings]
    return {"summary": {"job-status": case.status, "job": job}, "result": result}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_thing_that_is_not_as_printed_is_told(case: Case) -> None:
    spoil: dict[str, Callable[[dict[str, Any]], object]] = {
        "": lambda report: report,
        "job-status": lambda report: report["summary"].update({"job-status": "x"}),
        "attributes": lambda report: report["summary"]["job"]["attributes"].clear(),
        "records": lambda report: report["summary"]["job"]["baggage"]["records"].update(total=0),
        "warnings": lambda report: report["result"].append({"message": "x"}),
    }
    for what, how in spoil.items():
        report = a_report(case)
        how(report)
        outcome = story.Outcome(case)
        story._note(outcome, report)
        story._judge(outcome, report)
        assert [surprise.split(" is ")[0] for surprise in outcome.surprises] == [what] * bool(what)


@pytest.mark.parametrize("imports", [True, False])
@pytest.mark.parametrize("of_codes", [True, False])
def test_the_demo_fails_where_either_half_does(
    monkeypatch: pytest.MonkeyPatch, *, imports: bool, of_codes: bool
) -> None:
    for half, came in (("show_imports", imports), ("show_codes", of_codes)):

        async def show(_base: str, _screen: Screen, came: bool = came) -> bool:  # noqa: FBT001 - what came of it
            return came

        monkeypatch.setattr(demo, half, show)
    done = CliRunner().invoke(application, ["demo", "--base", "http://127.0.0.1:1"])
    assert done.exit_code == (0 if imports and of_codes else 1)


@pytest.mark.parametrize("body", [b"<p>Welcome!</p>", b"[]", b"{}"])
async def test_a_door_that_is_somebody_elses_is_told_in_a_line(body: bytes) -> None:
    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    said = io.StringIO()
    async with server:
        base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert not await demo.show_demo(base, Screen(Console(file=said, width=200)))
    told = [line for line in said.getvalue().splitlines() if not line.startswith("waiting for")]
    assert [line.partition(":")[0] for line in told] == [
        "The demo could not be run",
        "The demo of codes could not be run",
    ]


@pytest.mark.parametrize("width", [80, 120, 190])
def test_the_tables_are_shown_whole_however_narrow_the_screen(width: int) -> None:
    outcomes = [
        story.Outcome(case, "202 Total records = 2. Success = 2. Failed = 0", "PROCESSING_WITH_WARNING", terminal=True)
        for case in CASES
    ]
    row = Row("The next one of the day is appended", "POST …/orders (2 DEMO-INSTANT)", "202 PROCESSING", is_kept=True)
    for table in (story._table(outcomes), codes._table([row])):
        shown = io.StringIO()
        Console(width=width, file=shown, no_color=True).print(table)
        lines = [line for line in shown.getvalue().splitlines() if line.startswith(("|", "+"))]
        assert all(len(line) <= width and line.endswith(("|", "+")) for line in lines)
