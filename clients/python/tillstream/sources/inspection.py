"""What a file seems to be, before it is imported: format, columns and their fields, the first rows."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from tillstream.sources.columns import (
    ERRORS_COLUMN,
    HAS_OFFSET,
    LINE_FIELDS,
    RECORD_FIELDS,
    REQUIRED,
    TIME,
    ColumnMap,
    normalise,
)
from tillstream.sources.flat import MAX_ROWS_BEFORE_HEADER, MIN_HEADINGS, FlatOptions, FlatSource, Table, find_header
from tillstream.sources.open import detect_format, open_source, open_table
from tillstream.sources.records import Source, SourceError

MAX_ROWS = 10
MAX_TEXT = 200
UNKNOWN_HEADINGS = "the headings are not known; say which column is which field"
# Rows in which times are looked at.
_LOOKED_AT = 1_000


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its position, its name in the file, the field that it is sent as, and its first cells as texts."""

    position: int
    name: str
    field: str | None
    samples: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a file seems to be.

    `problem` says what must be decided before it can be imported, `missing` which fields have no column. A file of JSON
    has no headings. `records` are the first ones as they would be sent.
    """

    format: str
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    header_line: int | None = None
    headings: Sequence[Heading] = ()
    missing: Sequence[str] = ()
    records: Sequence[bytes] = ()
    has_times_without_offset: bool = False
    warnings: Sequence[str] = field(default_factory=list)
    problem: str | None = None


def fields_of(kind: str) -> Sequence[str]:
    """Return the names of all fields that a column may be, in their usual order."""
    return (*RECORD_FIELDS[kind], *LINE_FIELDS[kind])


def inspect_file(path: Path, options: FlatOptions, *, format_: str | None = None) -> Inspection:
    """Return what the file seems to be; raises `SourceError` if it cannot be read at all."""
    format_ = detect_format(path, format_)
    if format_ in {"json", "ndjson"}:
        return _inspect_json(open_source(path, options, format_=format_), format_)
    return _inspect_table(path, options, format_)


def _inspect_json(source: Source, format_: str) -> Inspection:
    encoding = getattr(source, "encoding", None)
    try:
        records = [record.json for record in islice(source.records(), MAX_ROWS)]
    except SourceError as error:
        return Inspection(format=format_, encoding=encoding, problem=str(error))
    return Inspection(format=format_, encoding=encoding, records=records)


def _inspect_table(path: Path, options: FlatOptions, format_: str) -> Inspection:
    columns = ColumnMap(options.kind, options.mapping)
    table = open_table(path, options, format_)
    known: dict[str, Any] = {"format": format_, "encoding": table.encoding, "delimiter": table.delimiter}
    unknown = None
    try:
        try:
            line, header = find_header(table.rows(), columns)
        except SourceError as error:
            # None of the headings is ours: they are shown, so that fields can be chosen for them.
            unknown = str(error)
            line, header = _first_row(table)
        rows = [row for at, row in islice(table.rows(), _LOOKED_AT + line) if at > line and _has_cells(row)]
    except SourceError as error:
        return Inspection(**known, problem=str(error))
    headings = [_heading(position, name, columns, rows) for position, name in enumerate(header)]
    found = {heading.field for heading in headings}
    known |= {"header_line": line, "headings": [heading for heading in headings if heading.name]}
    known["missing"] = [name for name in REQUIRED[options.kind] if name not in found]
    known["has_times_without_offset"] = _has_times_without_offset(headings, rows, options.kind)
    if unknown is not None:
        return Inspection(**known, problem=unknown if len(known["headings"]) < MIN_HEADINGS else UNKNOWN_HEADINGS)
    try:
        source = FlatSource(table, options)
        records = [record.json for record in islice(source.records(), MAX_ROWS)]
    except SourceError as error:
        return Inspection(**known, problem=str(error))
    return Inspection(**known, decimal=source.decimal, warnings=source.warnings, records=records)


def _first_row(table: Table) -> tuple[int, Sequence[Any]]:
    """Return the first row with several cells; raises `SourceError` if there is none."""
    for line, row in islice(table.rows(), MAX_ROWS_BEFORE_HEADER):
        if sum(cell not in (None, "") for cell in row) >= MIN_HEADINGS:
            return line, row
    raise SourceError("the file has no row with several columns")


def _heading(position: int, name: object, columns: ColumnMap, rows: Sequence[Sequence[Any]]) -> Heading:
    text = "" if name is None else str(name).strip()
    samples = [_as_text(row[position]) if position < len(row) else "" for row in rows[:MAX_ROWS]]
    is_errors = normalise(text) == normalise(ERRORS_COLUMN)
    return Heading(position, text, None if is_errors else columns.field_of(text), samples)


def _has_times_without_offset(headings: Sequence[Heading], rows: Sequence[Sequence[Any]], kind: str) -> bool:
    positions = [heading.position for heading in headings if RECORD_FIELDS[kind].get(heading.field or "") == TIME]
    cells = (row[position] for row in rows for position in positions if position < len(row))
    return any(cell not in (None, "") and not _has_offset(cell) for cell in cells)


def _has_offset(cell: Any) -> bool:
    if isinstance(cell, dt.date):
        return isinstance(cell, dt.datetime) and cell.tzinfo is not None
    return bool(HAS_OFFSET.search(str(cell).strip().replace(" ", "T").partition("T")[2]))


def _has_cells(row: Sequence[Any]) -> bool:
    return any(cell not in (None, "") for cell in row)


def _as_text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)[:MAX_TEXT]
