"""Exports over HTTP."""

import csv
import io
import json
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from services.ledger.http import tables
from tests.ledger.api_fixtures import ApiClient, api, matches, record
from tests.ledger.records import NOON, an_order

__all__ = ["api"]


FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)")


async def test_exports_have_each_entry_and_neutralise_formulas(api: ApiClient) -> None:
    for number, text in enumerate(FORMULAS):
        await record(api, an_order(text, site=api.site, channel=text, user=text, when=NOON + number))
    ndjson = (await (await api.get("/exports/orders", format="ndjson")).text()).splitlines()
    assert [json.loads(line)["orderId"] for line in ndjson] == list(FORMULAS)
    for line in ndjson:
        matches(json.loads(line), "Entry")
    rows = list(csv.DictReader(io.StringIO(await (await api.get("/exports/orders", format="csv")).text())))
    assert [row["orderId"] for row in rows] == [f"'{text}" for text in FORMULAS]
    assert [row["gross"] for row in rows] == ["19.98"] * 4
    assert [row["cursor"] for row in rows] == [json.loads(line)["cursor"] for line in ndjson]
    sheet = read_sheets(await (await api.get("/exports/orders", format="xlsx")).read())[0]
    assert [row[0] for row in sheet] == ["orderId", *FORMULAS]
    assert sheet[1][6] == 19.98


async def test_a_cut_stream_goes_on_behind_the_last_row(api: ApiClient) -> None:
    await record(api, *(an_order(str(n), site=api.site, when=NOON + n // 2) for n in range(9)))
    lines = [json.loads(line) for line in (await (await api.get("/exports/orders")).text()).splitlines()]
    for cut in range(9):
        rest = await (await api.get("/exports/orders", after=lines[cut]["cursor"])).text()
        assert [json.loads(line) for line in rest.splitlines()] == lines[cut + 1 :]


async def test_an_export_is_the_report_that_was_shown(api: ApiClient) -> None:
    await record(api, an_order("1", site=api.site), an_order("2", site=api.site, channel="-shop", currency="EUR"))
    query = {"from_": "2023-11-14", "to": "2023-11-15", "by": "day,channel"}
    shown = (await api.read("/reports/sales", **query))["result"]
    response = await api.get("/reports/sales", format="csv", **query)
    assert response.headers["X-Time-Zone"] == "UTC"
    rows = list(csv.DictReader(io.StringIO(await response.text())))
    assert [list(row) for row in rows] == [list(row) for row in shown]
    assert rows == [
        {name: f"'{value}" if value == "-shop" else str(value) for name, value in row.items()} for row in shown
    ]
    sheet = read_sheets(await (await api.get("/reports/sales", format="xlsx", **query)).read())[0]
    assert [row[:3] for row in sheet[1:]] == [[row["day"], row["channel"], row["currency"]] for row in shown]


async def test_rows_beyond_a_sheet_are_on_the_next(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MAX_SHEET_ROWS", 2)
    await record(api, *(an_order(str(n), site=api.site) for n in range(5)))
    sheets = read_sheets(await (await api.get("/exports/orders", format="xlsx")).read())
    assert [[row[0] for row in sheet] for sheet in sheets] == [
        ["orderId", "0", "1"],
        ["orderId", "2", "3"],
        ["orderId", "4"],
    ]


def read_sheets(content: bytes) -> list[list[list[Any]]]:
    """The sheets of a workbook, without a library: each cell is a text or a number."""
    space = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
    sheets = []
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        assert book.testzip() is None
        for number in range(1, len(ET.fromstring(book.read("xl/workbook.xml")).findall(f".//{space}sheet")) + 1):  # noqa: S314 - our own
            sheet = ET.fromstring(book.read(f"xl/worksheets/sheet{number}.xml"))  # noqa: S314 - as above
            assert not sheet.findall(f".//{space}f")
            sheets.append([[_cell(cell, space) for cell in row] for row in sheet.iter(f"{space}row")])
    return sheets


def _cell(cell: Any, space: str) -> Any:
    if cell.get("t") == "inlineStr":
        return cell.find(f"{space}is/{space}t").text
    value = cell.find(f"{space}v")
    return None if value is None else float(value.text)


async def test_a_client_has_two_exports_at_a_time(api: ApiClient) -> None:
    """Each reads all entries of the site."""
    await record(api, *(an_order(str(n), site=api.site, lines=[("p" * 128, 1, "1")] * 200) for n in range(300)))
    responses = [await api.get("/exports/orders") for _ in range(2)]
    assert [response.status for response in responses] == [200, 200]
    refused = await api.get("/exports/orders")
    assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
    assert (await api.get("/reports/sales", zone="Asia/Tokyo")).status == 429
    assert (await api.get("/reports/sales")).status == 200
    for response in responses:
        await response.read()
    assert (await api.get("/exports/orders")).status == 200


async def test_the_head_of_an_export_has_no_body(api: ApiClient) -> None:
    await record(api, an_order(site=api.site))
    response = await api.call("HEAD", "/exports/orders")
    assert (response.status, response.content_type, await response.read()) == (200, "application/x-ndjson", b"")
