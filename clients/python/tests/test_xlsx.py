"""Spreadsheets that are written: read with another program's library, and as XML."""

import datetime as dt
import io
import zipfile
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from python_calamine import CalamineWorkbook

from tillstream import xlsx
from tillstream.xlsx import SheetFullError, write_sheet

MOMENT = dt.datetime(2026, 5, 1, 10, 15, 30)  # noqa: DTZ001 - spreadsheets have no zones
CELLS: list[tuple[Any, Any]] = [
    ("000123456789012345678", "000123456789012345678"),
    ("=1+1", "=1+1"),
    ('<&"> ü – 🛒', '<&"> ü – 🛒'),
    ("  blanks  ", "  blanks  "),
    ("two\nlines", "two\nlines"),
    (4556.0, 4556.0),
    (3, 3.0),
    (0.1, 0.1),
    (MOMENT, MOMENT),
    (MOMENT.replace(tzinfo=dt.UTC), MOMENT),
    (dt.date(2026, 5, 1), "2026-05-01"),
    (True, "True"),
    (None, ""),
    ("", ""),
]


def written(*rows: list[Any]) -> bytes:
    buffer = io.BytesIO()
    with write_sheet(buffer, "a<b>", columns=3) as sheet:
        for row in rows:
            sheet.write_row(row)
    return buffer.getvalue()


def test_cells_are_read_as_they_were_written() -> None:
    header = [f"h{number}" for number in range(len(CELLS))]
    workbook = CalamineWorkbook.from_filelike(io.BytesIO(written(header, [cell for cell, _ in CELLS])))
    assert workbook.sheet_names == ["a<b>"]
    assert workbook.get_sheet_by_index(0).to_python() == [header, [expected for _, expected in CELLS]]


def test_every_part_is_well_formed_and_listed() -> None:
    """Control characters and lone surrogates too, which XML does not have."""
    content = written(["\x00\x1f\r\ud800\uffff", "_x0041_"], [1, MOMENT])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        trees = {name: ET.fromstring(archive.read(name)) for name in archive.namelist()}  # noqa: S314 - our own
    parts = {node.get("PartName", "").lstrip("/") for node in trees["[Content_Types].xml"]} - {""}
    assert parts == {name for name in trees if not name.endswith(".rels") and name != "[Content_Types].xml"}
    texts = [node.text for node in trees["xl/worksheets/sheet1.xml"].iter() if node.tag.endswith("}t")]
    assert texts == ["_x0000__x001F__x000D__xD800__xFFFF_", "_x005F_x0041_"]


def test_columns_have_names_of_several_letters() -> None:
    content = written([str(number) for number in range(703)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    for name in ("A1", "Z1", "AA1", "ZZ1", "AAA1"):
        assert f'r="{name}"' in sheet


def test_what_a_spreadsheet_cannot_hold_is_not_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SheetFullError, match="32,767 characters"):
        written(["x" * 32_768])
    monkeypatch.setattr(xlsx, "MAX_ROWS", 2)
    with pytest.raises(SheetFullError, match="rows"):
        written(["1"], ["2"], ["3"])
