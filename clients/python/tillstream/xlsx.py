"""Writes a spreadsheet of one sheet, row by row and in flat memory: Office Open XML, as far as a table needs it."""

import datetime as dt
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape, quoteattr

# What spreadsheet programs hold.
MAX_ROWS, MAX_CELL_CHARACTERS = 1_048_576, 32_767
COLUMN_WIDTH = 16
_EPOCH = dt.datetime(1899, 12, 30)  # noqa: DTZ001 - spreadsheets have no zones
# Positions in `cellXfs` of the styles.
_TEXT, _TIME = 1, 2
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_PARTS = {
    "[Content_Types].xml": f'<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    f'<Override PartName="/xl/workbook.xml" ContentType="{_TYPE}.sheet.main+xml"/>'
    f'<Override PartName="/xl/worksheets/sheet1.xml" ContentType="{_TYPE}.worksheet+xml"/>'
    f'<Override PartName="/xl/styles.xml" ContentType="{_TYPE}.styles+xml"/></Types>',
    "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_DOCUMENT}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_DOCUMENT}/worksheet" Target="worksheets/sheet1.xml"/>'
    f'<Relationship Id="rId2" Type="{_DOCUMENT}/styles" Target="styles.xml"/></Relationships>',
    "xl/styles.xml": f'<styleSheet xmlns="{_MAIN}">'
    '<numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy\\-mm\\-dd\\ hh:mm:ss"/></numFmts>'
    '<fonts count="1"><font><sz val="11"/><name val="Calibri"/></font></fonts>'
    '<fills count="2"><fill><patternFill patternType="none"/></fill>'
    '<fill><patternFill patternType="gray125"/></fill></fills>'
    '<borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>'
    '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs>'
    '<cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>'
    '<xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/>'
    '<xf numFmtId="164" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1"/></cellXfs>'
    '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>',
}
# Characters that XML does not have or does not keep, and text that would be read as such an escape.
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")


class SheetFullError(Exception):
    """A spreadsheet cannot hold as many rows, or as long a text."""


class SheetWriter:
    """Writes the rows of a sheet."""

    def __init__(self, part: IO[bytes]) -> None:
        self._part = part
        self._rows = 0

    def write_row(self, cells: Sequence[Any]) -> None:
        """Append a row: numbers as numbers, times as times, all else as text; raises `SheetFullError`."""
        self._rows += 1
        if self._rows > MAX_ROWS:
            raise SheetFullError(f"a spreadsheet holds {MAX_ROWS:,} rows")
        row = "".join(_cell(f"{_letters(column)}{self._rows}", cell) for column, cell in enumerate(cells))
        self._part.write(f'<row r="{self._rows}">{row}</row>'.encode())


@contextmanager
def write_sheet(file: Path | IO[bytes], name: str, *, columns: int) -> Iterator[SheetWriter]:
    """Write a workbook with one sheet; cells that are entered later in its columns are text, with all their digits."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for part_name, content in _PARTS.items():
            archive.writestr(part_name, _XML + content)
        sheets = f'<sheets><sheet name={quoteattr(name)} sheetId="1" r:id="rId1"/></sheets>'
        archive.writestr(
            "xl/workbook.xml", f'{_XML}<workbook xmlns="{_MAIN}" xmlns:r="{_DOCUMENT}">{sheets}</workbook>'
        )
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            width = f'<col min="1" max="{columns}" width="{COLUMN_WIDTH}" style="{_TEXT}" customWidth="1"/>'
            part.write(f'{_XML}<worksheet xmlns="{_MAIN}"><cols>{width}</cols><sheetData>'.encode())
            yield SheetWriter(part)
            part.write(b"</sheetData></worksheet>")


def _cell(place: str, cell: Any) -> str:
    if cell is None or cell == "":
        return ""
    if isinstance(cell, dt.datetime):
        return f'<c r="{place}" s="{_TIME}"><v>{(cell.replace(tzinfo=None) - _EPOCH) / dt.timedelta(days=1)!r}</v></c>'
    if isinstance(cell, int | float) and not isinstance(cell, bool):
        return f'<c r="{place}"><v>{cell!r}</v></c>'
    text = str(cell)
    if len(text) > MAX_CELL_CHARACTERS:
        raise SheetFullError(f"a cell of a spreadsheet holds {MAX_CELL_CHARACTERS:,} characters")
    escaped = escape(_ESCAPED.sub(lambda found: f"_x{ord(found.group()):04X}_", text))
    return f'<c r="{place}" s="{_TEXT}" t="inlineStr"><is><t xml:space="preserve">{escaped}</t></is></c>'


def _letters(column: int) -> str:
    """Return the name of a column: A to Z, AA, AB and so on."""
    name = ""
    column += 1
    while column:
        column, rest = divmod(column - 1, 26)
        name = chr(ord("A") + rest) + name
    return name
