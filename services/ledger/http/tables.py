"""Tables as CSV and XLSX, written row by row: memory does not grow with them."""

import csv
import io
import re
import zipfile
from collections.abc import Iterable, Sequence
from typing import Protocol
from xml.sax.saxutils import escape

from services.ledger.http.responses import Row

MAX_SHEET_ROWS = 1_000_000
MAX_DIGITS = 15
# A spreadsheet would take a text that begins with one of these for a formula.
_FORMULA = re.compile(r"[=+\-@\t\r]")
# Characters that XML cannot express.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_DEFLATE_LEVEL = 1

_SHEET_HEAD = (
    '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
)
_SHEET_END = "</sheetData></worksheet>"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_SHEET_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


class TableWriter(Protocol):
    """Turns rows into the bytes of a file, which are returned piece by piece."""

    def begin(self) -> bytes:
        """Return what comes before the rows."""

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return the bytes that are ready after these rows."""

    def end(self) -> bytes:
        """Return the rest."""


class CsvWriter:
    """Comma-separated values (RFC 4180) in UTF-8. Texts that look like formulas get an apostrophe."""

    def __init__(self, columns: Sequence[str], *, numeric: frozenset[int]) -> None:
        self._columns = columns
        self._texts = [position for position in range(len(columns)) if position not in numeric]

    def begin(self) -> bytes:
        """Return the header line."""
        return self._write([self._columns])

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return the lines of these rows."""
        return self._write([self._neutralise(row) for row in rows])

    def end(self) -> bytes:
        """Return nothing."""
        return b""

    def _neutralise(self, row: Row) -> Row:
        cells = list(row)
        for position in self._texts:
            text = cells[position]
            if isinstance(text, str) and _FORMULA.match(text):
                cells[position] = f"'{text}"
        return cells

    @staticmethod
    def _write(rows: Iterable[Row]) -> bytes:
        out = io.StringIO()
        csv.writer(out).writerows(rows)
        return out.getvalue().encode("utf-8", "replace")


class _Pieces(io.RawIOBase):
    """Collects what is written, until it is taken."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        piece = bytes(data)  # type: ignore[call-overload]  # any buffer
        self._pieces.append(piece)
        return len(piece)

    def take(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


class XlsxWriter:
    """A workbook (ECMA-376) whose texts are texts, never formulas. Further sheets hold what does not fit into one."""

    def __init__(self, columns: Sequence[str], *, numeric: frozenset[int]) -> None:
        self._columns = columns
        self._numeric = numeric
        self._out = _Pieces()
        self._zip = zipfile.ZipFile(self._out, "w", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL)
        self._sheets = 0
        self._rows_left = 0
        self._sheet: zipfile.ZipExtFile | None = None

    def begin(self) -> bytes:
        """Return the beginning of the first sheet."""
        self._next_sheet()
        return self._out.take()

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Return what is compressed so far."""
        texts: list[str] = []
        for row in rows:
            if not self._rows_left:
                self._write("".join(texts))
                texts = []
                self._next_sheet()
            texts.append(self._row(row))
            self._rows_left -= 1
        self._write("".join(texts))
        return self._out.take()

    def end(self) -> bytes:
        """Return the rest of the file."""
        self._close_sheet()
        for name, content in _workbook_parts(self._sheets).items():
            self._zip.writestr(name, content)
        self._zip.close()
        return self._out.take()

    def _next_sheet(self) -> None:
        self._close_sheet()
        self._sheets += 1
        self._sheet = self._zip.open(f"xl/worksheets/sheet{self._sheets}.xml", "w", force_zip64=True)  # type: ignore[assignment]
        self._rows_left = MAX_SHEET_ROWS
        cells = "".join(f'<c t="inlineStr"><is><t>{escape(name)}</t></is></c>' for name in self._columns)
        self._write(f"{_SHEET_HEAD}<row>{cells}</row>")

    def _close_sheet(self) -> None:
        if self._sheet is not None:
            self._write(_SHEET_END)
            self._sheet.close()

    def _write(self, text: str) -> None:
        if self._sheet is not None:
            self._sheet.write(text.encode())

    def _row(self, row: Row) -> str:
        numeric = self._numeric
        cells = [
            "<c/>"
            if value is None or value == ""
            else f"<c><v>{value}</v></c>"
            # A spreadsheet has at most 15 digits.
            if position in numeric and len(str(value)) <= MAX_DIGITS
            else f'<c t="inlineStr"><is><t xml:space="preserve">{_xml_text(value)}</t></is></c>'
            for position, value in enumerate(row)
        ]
        return f"<row>{''.join(cells)}</row>"


def _xml_text(value: str | int) -> str:
    text = str(value)
    if not text.isprintable():
        text = _NOT_XML.sub("\ufffd", text)
    return escape(text) if "&" in text or "<" in text or ">" in text else text


def _workbook_parts(sheets: int) -> dict[str, str]:
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    numbers = range(1, sheets + 1)
    overrides = "".join(
        f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{_SHEET_TYPE}.worksheet+xml"/>' for n in numbers
    )
    relations = "".join(
        f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    listed = "".join(f'<sheet name="Sheet{n}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    return {
        "xl/workbook.xml": f'{head}<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
        f' xmlns:r="{_OFFICE}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'{head}<Relationships xmlns="{_PACKAGE}/relationships">'
        f"{relations}</Relationships>",
        "_rels/.rels": f'{head}<Relationships xmlns="{_PACKAGE}/relationships"><Relationship Id="rId1"'
        f' Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "[Content_Types].xml": f'{head}<Types xmlns="{_PACKAGE}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{_SHEET_TYPE}.sheet.main+xml"/>{overrides}</Types>',
    }
