"""Files as people make them: each becomes the right records, or an error that says where and what to do."""

import datetime as dt
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import xlsxwriter

from tillstream.sources.flat import FlatOptions
from tillstream.sources.open import open_source
from tillstream.sources.records import Source, SourceError
from tillstream.template import to_csv, to_xlsx

HEADER = "id,userId,dateTime,productId,quantity,unitPrice"
LINE = "1,u,2024-05-01T10:00:00Z,4556,2,9.99"
RECORD = {
    "id": "1",
    "userId": "u",
    "dateTime": "2024-05-01T10:00:00Z",
    "lineItems": [{"productId": "4556", "quantity": 2, "unitPrice": "9.99"}],
}
SEMICOLONS = HEADER.replace(",", ";") + "\n" + LINE.replace(",", ";").replace("9.99", "9,99")


def read(source: Source) -> list[Any]:
    assert source.count() == len(list(source.records()))
    return [json.loads(record.json) for record in source.records()]


def opened(tmp_path: Path, content: bytes, name: str = "f.csv", *, kind: str = "orders", **options: Any) -> Source:
    path = tmp_path / name
    path.write_bytes(content)
    mapping = options.pop("mapping", {})
    format_ = options.pop("format_", None)
    return open_source(path, FlatOptions(kind, mapping, **options), format_=format_)


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (f"{HEADER}\n{LINE}\n".encode(), "CSV, UTF-8, comma"),
        (f"{HEADER}\r\n{LINE}".encode("utf-8-sig"), "UTF-8 with byte order mark"),
        (f"{HEADER}\n{LINE}".encode("utf-16"), "UTF-16"),
        (f"{HEADER}\n{LINE}".encode("utf-16-le"), "UTF-16-LE"),
        (f"{HEADER}\n{LINE}".encode("utf-16-be"), "UTF-16-BE"),
        (f"{HEADER}\n{LINE}".encode("utf-32"), "UTF-32"),
        (f"{HEADER}\r{LINE}\r".encode(), "CSV"),
        (f"\r\n{HEADER}\r{LINE}\r\n\n".encode(), "header in line 2"),
        (SEMICOLONS.encode(), "decimal comma"),
        (f"{HEADER}\n{LINE}".replace(",", "\t").encode(), "tab"),
        (f"Sales of May\n\n{HEADER}\n{LINE}".encode(), "header in line 3"),
        (f"{HEADER}\n{LINE}\n,,,,,\n\n".encode(), "CSV"),
        (f"ID,User_ID,date time,PRODUCT-ID,Quantity,unit price\n{LINE}".encode(), "CSV"),
    ],
)
def test_what_spreadsheets_export_is_detected_and_said(tmp_path: Path, content: bytes, finding: str) -> None:
    source = opened(tmp_path, content)
    assert read(source) == [RECORD]
    assert finding in "; ".join(source.findings)


@pytest.mark.parametrize("name", ["f.xls", "f.xlsx", "f.dat", "f"])
def test_a_csv_file_is_recognised_by_any_name(tmp_path: Path, name: str) -> None:
    assert read(opened(tmp_path, f"{HEADER}\n{LINE}".encode(), name)) == [RECORD]


def test_windows_characters_are_read(tmp_path: Path) -> None:
    text = f"{HEADER},storeId\n{LINE},Zürich – Café\n"
    source = opened(tmp_path, text.encode("cp1252"))
    assert read(source)[0]["storeId"] == "Zürich – Café"
    assert "CP1252" in source.findings[0]


def test_lines_of_one_order_are_grouped(tmp_path: Path) -> None:
    """By its id; a row with nothing but a product belongs to the order before it."""
    lines = [LINE, "1,u,2024-05-01T10:00:00Z,4557,1,1", ",,,4558,1,2", LINE.replace("1,u", "2,v")]
    records = read(opened(tmp_path, "\n".join([HEADER, *lines]).encode()))
    assert [[line["productId"] for line in record["lineItems"]] for record in records] == [
        ["4556", "4557", "4558"],
        ["4556"],
    ]


def test_records_without_an_id_are_left_to_the_server(tmp_path: Path) -> None:
    """It names the fault; they are not taken for one record."""
    source = opened(tmp_path, f"{HEADER}\n{LINE[1:]}\n{LINE}\n{LINE[1:]}\n".encode())
    assert [record.get("id") for record in read(source)] == [None, "1", None]


def test_a_line_break_inside_quotes_is_part_of_the_value(tmp_path: Path) -> None:
    text = f'{HEADER},storeId\r\n{LINE},"two\r\nlines, and ""quotes"""\r\n{LINE.replace("1,u", "2,u")},x\r\n'
    source = opened(tmp_path, text.encode())
    records = list(source.records())
    assert json.loads(records[0].json)["storeId"] == 'two\r\nlines, and "quotes"'
    assert [record.line for record in records] == [2, 4]


@pytest.mark.parametrize(
    ("amount", "sign", "sent"),
    [
        ("1.234,50", ",", "1234.50"),
        ("1,234.50", ".", "1234.50"),
        ("0,5", ",", "0.5"),
        ("1 234,5", ",", "1234.5"),
        ("256.678", ".", "256.678"),
        ("12345678901234567890.123", ".", "12345678901234567890.123"),
        ("n/a", ".", "n/a"),
    ],
)
def test_amounts_keep_all_their_digits(tmp_path: Path, amount: str, sign: str, sent: str) -> None:
    text = SEMICOLONS.replace("9,99", amount)
    source = opened(tmp_path, text.encode(), decimal=sign)
    assert read(source)[0]["lineItems"][0]["unitPrice"] == sent


@pytest.mark.parametrize(
    ("time", "sent"),
    [
        ("2024-05-01 10:00:00", "2024-05-01T10:00:00+02:00"),
        ("2024-05-01T10:00", "2024-05-01T10:00:00+02:00"),
        ("2024-05-01", "2024-05-01T00:00:00+02:00"),
        ("1.5.2024 9:05", "2024-05-01T09:05:00+02:00"),
        ("2024-12-01T10:00:00Z", "2024-12-01T10:00:00Z"),
        ("2024-12-01 10:00:00+09:00", "2024-12-01T10:00:00+09:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_times_get_their_offset(tmp_path: Path, time: str, sent: str) -> None:
    text = f"{HEADER}\n{LINE.replace('2024-05-01T10:00:00Z', time)}"
    source = opened(tmp_path, text.encode(), zone=ZoneInfo("Europe/Berlin"))
    assert read(source)[0]["dateTime"] == sent


def test_columns_are_named_by_the_user(tmp_path: Path) -> None:
    text = f"Order no.,Customer,dateTime,productId,quantity,unitPrice,Clerk\n{LINE},Ann"
    source = opened(tmp_path, text.encode(), mapping={"id": "Order no.", "userId": "customer"})
    assert read(source) == [RECORD]
    assert "Clerk" in "".join(source.warnings)


def test_returns_have_two_ids(tmp_path: Path) -> None:
    text = "orderId,returnId,userId,dateTime,productId,quantity,unitPrice,creditType,returnValue\n"
    text += "o,r,u,2024-05-01T10:00:00Z,1,1,1,cash,5\no,s,u,2024-05-01T10:00:00Z,1,1,1,cash,5\n"
    records = read(opened(tmp_path, text.encode(), kind="returns"))
    assert [(record["orderId"], record["returnId"]) for record in records] == [("o", "r"), ("o", "s")]
    assert records[0]["lineItems"][0]["creditType"] == "cash"


def xlsx(*rows: list[Any], header: str = HEADER, sheets: tuple[str, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"default_date_format": "yyyy-mm-dd hh:mm"}) as workbook:
        for name in sheets:
            workbook.add_worksheet(name).write_row(0, 0, ["nothing", "here"])
        sheet = workbook.add_worksheet("Sales")
        for number, row in enumerate([header.split(","), *rows]):
            sheet.write_row(number, 0, row)
    return buffer.getvalue()


MOMENT = dt.datetime(2024, 5, 1, 10, 0, 0)  # noqa: DTZ001 - spreadsheets have no zones


def test_a_spreadsheet_with_dates_and_numbers(tmp_path: Path) -> None:
    content = xlsx([1, "u", MOMENT, 4556, 2.0, 0.1 + 0.2], sheets=("Notes",))
    source = opened(tmp_path, content, "f.xlsx", zone=ZoneInfo("Asia/Tokyo"))
    (record,) = read(source)
    assert record["id"] == "1"
    assert record["dateTime"] == "2024-05-01T10:00:00+09:00"
    assert record["lineItems"] == [{"productId": "4556", "quantity": 2, "unitPrice": "0.3"}]
    assert "'Sales'" in source.findings[0]


def test_a_number_that_the_spreadsheet_has_rounded_is_not_sent(tmp_path: Path) -> None:
    """Breaks if an id of 18 digits is imported as the id of another order."""
    content = xlsx([123456789012345678, "u", MOMENT, 4556, 1, 1], ["123456789012345678", "u", MOMENT, 4556, 1, 1])
    rounded, exact = opened(tmp_path, content, "f.xlsx").records()
    assert rounded.fault is not None
    assert rounded.fault.code == "ROUNDED_NUMBER"
    assert "line 2, column 'id'" in rounded.fault.message
    assert "as text" in rounded.fault.message
    assert json.loads(exact.json)["id"] == "123456789012345678"


def test_a_sheet_of_another_office_program_is_read(tmp_path: Path) -> None:
    """OpenDocument: its cells have types, as those of XLSX."""
    names = "office", "table", "text"
    spaces = " ".join(f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in names)
    cells = [[f'office:value-type="string"><text:p>{cell}</text:p>' for cell in HEADER.split(",")]]
    cells.append([f'office:value-type="string"><text:p>{cell}</text:p>' for cell in ("1", "u", "", "4556")])
    cells[1][2] = 'office:value-type="date" office:date-value="2024-05-01T10:00:00">'
    cells[1] += ['office:value-type="float" office:value="2">', 'office:value-type="float" office:value="9.99">']
    rows = "".join(
        f"<table:table-row>{''.join(f'<table:table-cell {cell}</table:table-cell>' for cell in row)}</table:table-row>"
        for row in cells
    )
    table = f'<table:table table:name="Sales">{rows}</table:table>'
    body = f"<office:body><office:spreadsheet>{table}</office:spreadsheet></office:body>"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
        archive.writestr("content.xml", f"<office:document-content {spaces}>{body}</office:document-content>")
    (record,) = read(opened(tmp_path, content.getvalue(), "f.ods", zone=ZoneInfo("UTC")))
    assert record == RECORD | {"dateTime": "2024-05-01T10:00:00+00:00"}


def test_rows_that_contradict_each_other_are_not_sent(tmp_path: Path) -> None:
    text = f"{HEADER}\n{LINE}\n{LINE.replace('1,u', '1,v')}"
    (record,) = opened(tmp_path, text.encode()).records()
    assert record.fault is not None
    assert record.fault.code == "CONFLICTING_ROWS"
    assert "line 3, column 'userId'" in record.fault.message


@pytest.mark.parametrize("write", [to_csv, to_xlsx])
@pytest.mark.parametrize("kind", ["orders", "returns"])
def test_a_template_can_be_imported_as_it_is(tmp_path: Path, write: Callable[[str], bytes], kind: str) -> None:
    name = "t.xlsx" if write is to_xlsx else "t.csv"
    records = read(opened(tmp_path, write(kind), name, kind=kind))
    assert [len(record["lineItems"]) for record in records] == [1, 2]


def test_json_is_sent_as_it_is(tmp_path: Path) -> None:
    """Digit by digit: a number must not pass through a float."""
    texts = ['{"id": 123456789012345678901, "x": 1.10, "n": {"a": [1, "]}"]}}', '{"id":2}']
    for name, content in (
        ("f.json", f"\ufeff[ {texts[0]},\n{texts[1]} ]\n"),
        ("f.ndjson", "\r\n".join(texts) + "\n\n"),
    ):
        source = opened(tmp_path, content.encode(), name)
        assert source.count() == 2
        assert [record.json.decode() for record in source.records()] == texts
    (one,) = opened(tmp_path, texts[0].encode(), "one.json").records()
    assert one.json.decode() == texts[0]


def test_a_large_array_is_read_piece_by_piece(tmp_path: Path) -> None:
    records = [{"id": str(number), "text": "x" * 1000} for number in range(5000)]
    source = opened(tmp_path, json.dumps(records, indent=1).encode(), "f.json")
    assert source.count() == 5000
    assert [json.loads(record.json)["id"] for record in source.records()][-1] == "4999"


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("sales.csv", HEADER)
    return content.getvalue()


BROKEN: list[tuple[str, str, bytes, str]] = [
    ("empty", "f.csv", b"", "is empty"),
    ("blank", "f.csv", b"\xef\xbb\xbf \r\n", "is empty"),
    ("only a header", "f.csv", f"{HEADER}\n".encode(), "no records"),
    ("no header", "f.csv", b"1,u,2024-05-01T10:00:00Z,4556,2,9.99\n", "no header row"),
    ("a missing column", "f.csv", b"id,userId,dateTime,productId,quantity\n", "unitPrice"),
    ("a doubled column", "f.csv", f"{HEADER},ID\n".encode(), "choose one with --map id=COLUMN"),
    ("an unquoted delimiter", "f.csv", f"{HEADER}\n{LINE}\n{LINE},x,y\n".encode(), "line 3: 8 cells"),
    ("a broken quote", "f.csv", f'{HEADER}\n"a"b,{LINE}\n'.encode(), "line 2: not valid CSV"),
    ("an open quote", "f.csv", f'{HEADER}\n"a,{LINE}\n'.encode(), "line 2: not valid CSV"),
    ("both decimal signs", "f.csv", f"{SEMICOLONS}\n2;u;2024-05-01T10:00:00Z;1;1;9.99".encode(), "--decimal"),
    ("a split order", "f.csv", f"{HEADER}\n{LINE}\n2{LINE[1:]}\n{LINE}\n".encode(), "line 4: this record begins"),
    ("no object", "f.ndjson", b'{"id":1}\n[2]\n', "line 2: not a JSON object"),
    ("a broken line", "f.ndjson", b'{"id":1}\n{"id":', "line 2: not a JSON object"),
    ("no array of objects", "f.json", b"[\n1]", "line 2: an element is no JSON object"),
    ("a broken array", "f.json", b'[{"id":1},\n{"id" 2}]', "line 2: not valid JSON"),
    ("a cut array", "f.json", b'[{"id":1},\n{"id":2}', "not valid JSON"),
    ("a last comma", "f.json", b'[{"id":1},]', "a comma before the closing bracket"),
    ("records one after another", "f.json", b'{"id":1}\n{"id":2}', "--format ndjson"),
    ("an empty array", "f.json", b"[]", "empty"),
    ("no spreadsheet", "f.xlsx", b"PK\x03\x04nonsense", "save it as XLSX or CSV"),
    ("an open quote", "f.csv", f'{HEADER}\n{LINE}\n"x'.encode(), "line 3: not valid CSV (a double quote that begins a"),
    ("a huge cell", "f.csv", HEADER.encode() + b"\n" + b"x" * 4_200_000, "line 2: a value of more than 4"),
    ("a zero byte", "f.csv", f"{HEADER}\n{LINE}\n".encode() + b"a\0b", "line 3: a zero byte"),
    ("gzip", "f.csv", b"\x1f\x8b\x08\0", "is compressed"),
    ("a document", "f.csv", b"%PDF-1.4", "PDF"),
    ("a page", "f.xls", b"<html><table>", "save it as XLSX or CSV"),
    ("an old workbook", "f.csv", bytes.fromhex("d0cf11e0a1b11ae1") + b"\0" * 600, "save it as XLSX or CSV"),
    ("an archive", "f.csv", zipped(), "unpack archives"),
    ("no number", "f.json", b'[{"id":1},\n{"id":NaN}]', "begins in line 2: NaN is no JSON number"),
    ("a zero byte in JSON", "f.ndjson", b'{"id":1}\n{"id":"\0"}', "line 2: a zero byte"),
    ("an array as NDJSON", "f.ndjson", b'[{"id":1}]', "--format json"),
    ("deep JSON", "f.json", b'[{"a":' + b"[" * 63 + b"]" * 63 + b"}]", "line 1: the record is nested more than 63"),
    ("very deep JSON", "f.json", b'[{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]", "nested more than 63"),
    ("deep NDJSON", "f.ndjson", b'\n{"a":' + b"[" * 63 + b"]" * 63 + b"}", "line 2: the record is nested more than 63"),
    ("very deep NDJSON", "f.ndjson", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line 1: not a JSON object"),
    ("undefined in any encoding", "f.csv", HEADER.encode() + b"\n\x81\x8d\n", "save the file as CSV in UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"), [line[1:] for line in BROKEN], ids=[line[0] for line in BROKEN]
)
def test_what_cannot_be_read_is_said_with_its_place(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(SourceError) as raised:
        opened(tmp_path, content, name).count()
    assert message in str(raised.value)


def test_a_directory_and_a_missing_file_are_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.csv"):
        with pytest.raises(SourceError) as raised:
            open_source(path, FlatOptions("orders", {}))
        assert str(path) in str(raised.value)


def test_a_map_of_an_unknown_field_names_the_fields(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="unitPrice"):
        opened(tmp_path, HEADER.encode(), mapping={"price": "x"})
