"""Records from rows: lines of one order are grouped by its id."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from hashlib import blake2b
from typing import Any

from tillstream.encoding import encode_records
from tillstream.sources.columns import ERRORS_COLUMN, KEYS, Column, ColumnMap, RoundedNumberError, normalise, to_value
from tillstream.sources.records import LocalFault, SourceError, SourceRecord

MAX_ROWS_BEFORE_HEADER = 20
MIN_HEADINGS = 2
_KEYS_AT_ONCE = 5_000
Row = Sequence[Any]
Rows = Callable[[], Iterator[tuple[int, Row]]]


@dataclass(frozen=True, slots=True)
class FlatOptions:
    """How a file is read: kind of records, `wire=column` pairs, decimal sign, zone of times without offset.

    Delimiter and encoding are of CSV; the encoding is that of JSON and NDJSON, too. With None, they are detected.
    """

    kind: str
    mapping: Mapping[str, str]
    decimal: str | None = None
    zone: tzinfo | None = None
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; `rows` starts from the beginning with each call and yields line numbers and cells."""

    rows: Rows
    findings: Sequence[str]
    delimiter: str | None = None
    encoding: str | None = None


class FlatSource:
    """A table of sales."""

    def __init__(self, table: Table, options: FlatOptions) -> None:
        rows = self._rows = table.rows
        self.delimiter, self.encoding = table.delimiter, table.encoding
        self._kind = options.kind
        self._zone = options.zone
        self.findings = list(table.findings)
        self.warnings: list[str] = []
        columns = ColumnMap(options.kind, options.mapping)
        self._header_line, header = find_header(rows(), columns)
        self._header = [str(cell if cell is not None else "") for cell in header]
        self._columns = columns.columns(header, line=self._header_line)
        self._record_columns = [column for column in self._columns if not column.is_line]
        self._line_columns = [column for column in self._columns if column.is_line]
        keys = {column.field: column for column in self._columns}
        self._keys = [keys[name].position for name in KEYS[options.kind]]
        self._decimal = options.decimal or self._detect_decimal()
        self._describe()

    @property
    def header(self) -> Sequence[str]:
        """Names of the columns."""
        return self._header

    @property
    def decimal(self) -> str:
        """The decimal sign of amounts."""
        return self._decimal

    def count(self) -> int:
        """Read the whole file once; raises `SourceError` where a record could not be told from others."""
        seen = SeenKeys()
        numbers = 0
        try:
            for line, rows in self._groups():
                numbers += 1
                key = self._key(rows[0])
                if any(key):
                    seen.add("\0".join(key), line)
            seen.flush()
        finally:
            seen.close()
        if not numbers:
            raise SourceError(f"the file has a header in line {self._header_line}, and no records")
        return numbers

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records in the order of the file."""
        for number, (line, rows) in enumerate(self._groups()):
            fault, record = None, {}
            try:
                record = self._record(rows)
                fault = self._conflict(rows, line)
            except _CellError as error:
                fault = LocalFault(
                    "ROUNDED_NUMBER",
                    f"/{error.column.field}",
                    f"line {line}, column {error.column.heading!r}: the number has more than 15 digits, and the "
                    "spreadsheet has rounded it; format the column as text and enter it again",
                )
            yield SourceRecord(number, line, encode_records(record), rows, fault)

    def _groups(self) -> Iterator[tuple[int, list[Row]]]:
        """Yield line and rows of each record."""
        first, group, current = 0, list[Row](), list[str]()
        for line, row in self._body():
            key = self._key(row)
            is_continued = group and (key == current if any(key) else self._is_continuation(row))
            if is_continued:
                group.append(row)
                continue
            if group:
                yield first, group
            first, group, current = line, [row], key
        if group:
            yield first, group

    def _body(self) -> Iterator[tuple[int, Row]]:
        width = len(self._header)
        for line, row in self._rows():
            if line <= self._header_line or not any(cell not in (None, "") for cell in row):
                continue
            if any(cell not in (None, "") for cell in row[width:]):
                raise SourceError(
                    f"line {line}: {len(row)} cells, but the header in line {self._header_line} has {width}; "
                    "put values that contain the delimiter into double quotes"
                )
            yield line, row

    def _key(self, row: Row) -> list[str]:
        return [str(_cell(row, position)).strip() for position in self._keys]

    def _is_continuation(self, row: Row) -> bool:
        """Whether a row holds a product and nothing else: it belongs to the record before it."""
        return all(_cell(row, column.position) == "" for column in self._record_columns)

    def _record(self, rows: list[Row]) -> dict[str, Any]:
        record = self._values(rows[0], self._record_columns)
        record["lineItems"] = [self._values(row, self._line_columns) for row in rows]
        return record

    def _values(self, row: Row, columns: list[Column]) -> dict[str, Any]:
        values = {}
        for column in columns:
            try:
                value = to_value(_cell(row, column.position), column.type, decimal=self._decimal, zone=self._zone)
            except RoundedNumberError:
                raise _CellError(column) from None
            if value is not None:
                values[column.field] = value
        return values

    def _conflict(self, rows: list[Row], line: int) -> LocalFault | None:
        """Return the fault of a record whose rows differ in what is said once for the whole record."""
        for offset, row in enumerate(rows[1:], 1):
            for column in self._record_columns:
                cell = _cell(row, column.position)
                if cell not in ("", _cell(rows[0], column.position)):
                    return LocalFault(
                        "CONFLICTING_ROWS",
                        f"/{column.field}",
                        f"line {line + offset}, column {column.heading!r}: differs from the first line of the same "
                        f"record (line {line}); make them equal, or leave it empty in all but the first",
                    )
        return None

    def _detect_decimal(self) -> str:
        """Look at amounts of the first rows: 1,5 is written with a comma, 1.5 with a point."""
        amounts = [column for column in self._columns if column.type == "amount"]
        commas = points = 0
        for number, (_, row) in enumerate(self._body()):
            if number >= 1000:
                break
            for column in amounts:
                cell = _cell(row, column.position)
                if isinstance(cell, str) and cell:
                    last = max(cell.rfind(","), cell.rfind("."))
                    commas += last >= 0 and cell[last] == ","
                    points += last >= 0 and cell[last] == "."
        if commas and points:
            raise SourceError(
                "amounts are written with commas and with points; say which one is the decimal sign: --decimal , or ."
            )
        return "," if commas else "."

    def _describe(self) -> None:
        if self._header_line > 1:
            self.findings.append(f"header in line {self._header_line}")
        if self._decimal == ",":
            self.findings.append("decimal comma")
        sent = {column.position for column in self._columns}
        ignored = [
            name
            for position, name in enumerate(self._header)
            if position not in sent and name and normalise(name) != normalise(ERRORS_COLUMN)
        ]
        if ignored:
            self.warnings.append(f"columns that are not sent: {', '.join(ignored)}")


def find_header(rows: Iterator[tuple[int, Row]], columns: ColumnMap) -> tuple[int, Row]:
    """Return the row with the most headings among the first ones; raises `SourceError`."""
    best, line, header = 0, 0, list[Any]()
    is_empty = True
    for number, (at, row) in enumerate(rows):
        if number >= MAX_ROWS_BEFORE_HEADER:
            break
        is_empty = is_empty and not any(cell not in (None, "") for cell in row)
        score = columns.score(row)
        if score > best:
            best, line, header = score, at, list(row)
    if is_empty:
        raise SourceError("the file is empty")
    if best < MIN_HEADINGS:
        raise SourceError(
            f"no header row among the first {MAX_ROWS_BEFORE_HEADER} lines; the first row names the columns "
            f"(`tillstream template {columns.kind}` writes an example), or name them with --map"
        )
    return line, header


class SeenKeys:
    """Finds a record whose rows do not stand together: its second part would replace the first one.

    On disk, so that a million ids take no memory.
    """

    def __init__(self) -> None:
        self._database = sqlite3.connect("")
        self._database.execute("CREATE TABLE seen (key INTEGER PRIMARY KEY, line INTEGER)")
        self._pending: list[tuple[int, int]] = []

    def add(self, key: str, line: int) -> None:
        """Remember a key; raises `SourceError` if it has been added before, now or by a later call."""
        number = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big", signed=True)
        self._pending.append((number, line))
        if len(self._pending) >= _KEYS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Compare what was added."""
        before = self._database.total_changes
        self._database.executemany("INSERT OR IGNORE INTO seen VALUES (?, ?)", self._pending)
        if self._database.total_changes - before < len(self._pending):
            self._report()
        self._pending.clear()

    def _report(self) -> None:
        for number, line in self._pending:
            (first,) = self._database.execute("SELECT line FROM seen WHERE key = ?", (number,)).fetchone()
            if first != line:
                raise SourceError(
                    f"line {line}: this record begins in line {first} already, with others in between; "
                    "sort the file so that all lines of a record stand together"
                )

    def close(self) -> None:
        """Delete the table."""
        self._database.close()


class _CellError(Exception):
    def __init__(self, column: Column) -> None:
        super().__init__(column.heading)
        self.column = column


def _cell(row: Row, position: int) -> Any:
    value = row[position] if position < len(row) else ""
    return "" if value is None else value
