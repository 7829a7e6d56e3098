"""What a program shows of a file before it is imported, and what of it can be said otherwise."""

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tillstream.sources.flat import FlatOptions
from tillstream.sources.inspection import Inspection, fields_of, inspect_file
from tillstream.sources.open import open_source
from tillstream.sources.records import SourceError
from tillstream.template import to_xlsx

HEADER = "id;userId;dateTime;productId;quantity;unitPrice"
LINE = "1;u;2024-05-01 10:00:00;4556;2;9,99"


def inspected(tmp_path: Path, content: str | bytes, name: str = "f.csv", **options: Any) -> Inspection:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    format_ = options.pop("format_", None)
    return inspect_file(path, FlatOptions("orders", options.pop("mapping", {}), **options), format_=format_)


def test_what_is_detected_is_told(tmp_path: Path) -> None:
    found = inspected(tmp_path, f"Sales of May;;;;;\n{HEADER};Till;_errors\n{LINE};3;/id INVALID_TYPE: x\n")
    assert (found.format, found.encoding, found.delimiter, found.decimal) == ("csv", "utf-8", ";", ",")
    assert (found.header_line, found.missing, found.problem) == (2, [], None)
    assert found.has_times_without_offset
    assert [(heading.name, heading.field) for heading in found.headings][-3:] == [
        ("unitPrice", "unitPrice"),
        ("Till", None),
        ("_errors", None),
    ]
    assert found.headings[4].samples == ["2"]
    assert found.warnings == ["columns that are not sent: Till"]
    assert json.loads(found.records[0])["lineItems"] == [{"productId": "4556", "quantity": 2, "unitPrice": "9.99"}]


def test_columns_of_unknown_names_are_shown_and_can_be_mapped(tmp_path: Path) -> None:
    """Breaks if a file whose headings are not ours cannot be looked at: nobody could say which column is which."""
    content = f"{HEADER.replace('userId', 'Customer').replace('unitPrice', 'Price')}\n{LINE}\n"
    found = inspected(tmp_path, content)
    assert found.missing == ["userId", "unitPrice"]
    assert "no column for userId, unitPrice" in (found.problem or "")
    assert [heading.name for heading in found.headings if heading.field is None] == ["Customer", "Price"]
    assert found.headings[1].samples == ["u"]
    mapped = inspected(tmp_path, content, mapping={"userId": "Customer", "unitPrice": "Price"})
    assert (mapped.missing, mapped.problem) == ([], None)
    assert json.loads(mapped.records[0])["userId"] == "u"


def test_mixed_decimal_signs_are_a_problem_that_a_choice_solves(tmp_path: Path) -> None:
    content = f"{HEADER}\n{LINE}\n{LINE.replace('1;u', '2;u').replace('9,99', '1.50')}\n"
    assert "decimal sign" in (inspected(tmp_path, content).problem or "")
    assert inspected(tmp_path, content, decimal=",").decimal == ","


@pytest.mark.parametrize(
    ("time", "is_open"),
    [
        ("2024-05-01T10:00:00Z", False),
        ("2024-05-01 10:00:00+02:00", False),
        ("2024-05-01", True),
        ("01.05.2024 10:15", True),
    ],
)
def test_times_without_offset_are_noticed(tmp_path: Path, time: str, is_open: bool) -> None:  # noqa: FBT001
    content = f"{HEADER}\n{LINE.replace('2024-05-01 10:00:00', time)}\n"
    assert inspected(tmp_path, content).has_times_without_offset is is_open


def test_json_and_spreadsheets_are_inspected(tmp_path: Path) -> None:
    found = inspected(tmp_path, '{"id": 1}\n{"id": 2}\n', "f.ndjson")
    assert (found.format, found.encoding, found.headings) == ("ndjson", "utf-8", ())
    assert found.records == [b'{"id": 1}', b'{"id": 2}']
    assert "line 2" in (inspected(tmp_path, '{"id": 1}\n{"id": \n', "f.ndjson").problem or "")
    sheet = inspected(tmp_path, to_xlsx("orders"), "f.xlsx")
    assert (sheet.format, sheet.encoding, sheet.problem, len(sheet.records)) == ("xlsx", None, None, 2)
    assert {heading.field for heading in sheet.headings} == set(fields_of("orders"))


def test_what_is_no_file_of_sales_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="empty"):
        inspected(tmp_path, "")
    with pytest.raises(SourceError, match="PDF"):
        inspected(tmp_path, b"%PDF-1.7")
    assert "no row with several columns" in (inspected(tmp_path, "a\n1\n").problem or "")


def test_a_file_whose_headings_are_all_unknown_can_be_mapped(tmp_path: Path) -> None:
    """Breaks if a file that another program wrote in another language can be imported by nobody."""
    content = f"Nr;Kunde;Zeit;Artikel;Menge;Preis\n{LINE}\n"
    found = inspected(tmp_path, content)
    assert "say which column is which" in (found.problem or "")
    assert [heading.name for heading in found.headings] == ["Nr", "Kunde", "Zeit", "Artikel", "Menge", "Preis"]
    assert (found.header_line, found.headings[3].samples, len(found.missing)) == (1, ["4556"], 6)
    mapping = dict(zip(HEADER.split(";"), ("Nr", "Kunde", "Zeit", "Artikel", "Menge", "Preis"), strict=True))
    mapped = inspected(tmp_path, content, mapping=mapping)
    assert (mapped.problem, mapped.delimiter, len(mapped.records)) == (None, ";", 1)


def test_encoding_and_delimiter_can_be_said(tmp_path: Path) -> None:
    """Breaks if a wrong guess cannot be corrected: é in cp850 is valid, and another letter, in Windows-1252."""
    content = f"{HEADER}\n{LINE.replace(';u;', ';André;')}\n".replace(";", "~").encode("cp850")
    path = tmp_path / "f.csv"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no header row"):
        open_source(path, FlatOptions("orders", {}))
    source = open_source(path, FlatOptions("orders", {}, delimiter="~", encoding="cp850", zone=ZoneInfo("Asia/Tokyo")))
    record = json.loads(next(source.records()).json)
    assert (record["userId"], record["dateTime"]) == ("André", "2024-05-01T10:00:00+09:00")
    assert source.findings[0] == "CSV, CP850, '~'"
    path.write_bytes(b"\xef\xbb\xbf" + f"{HEADER}\n{LINE}\n".encode())
    source = open_source(path, FlatOptions("orders", {}, encoding="utf8"))
    assert source.header is not None
    assert source.header[0] == "id", "a byte order mark is no part of the first heading"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "klingon"}, "no known encoding"),
        ({"encoding": "hex"}, "no known encoding of text"),
        ({"delimiter": "::"}, "one character"),
        ({"delimiter": '"'}, "one character"),
        ({"encoding": "ascii"}, "not ascii"),
    ],
)
def test_impossible_choices_are_refused(tmp_path: Path, options: dict[str, str], message: str) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(f"{HEADER}\n{LINE.replace(';u;', ';André;')}\n".encode("cp1252"))
    with pytest.raises(SourceError, match=message):
        open_source(path, FlatOptions("orders", {}, **options)).count()  # type: ignore[arg-type]


def test_json_of_a_chosen_encoding(tmp_path: Path) -> None:
    path = tmp_path / "f.ndjson"
    path.write_bytes('{"userId": "Käthe"}\n'.encode("cp1252"))
    source = open_source(path, FlatOptions("orders", {}, encoding="cp1252"))
    assert json.loads(next(source.records()).json) == {"userId": "Käthe"}
