"""Writes the records that failed, as they were in the file, with their errors: to be mended and imported again."""

import csv
import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec

from tillstream.manifest import ImportState, RecordFault
from tillstream.sources.columns import ERRORS_COLUMN, normalise
from tillstream.sources.records import Source, SourceError, SourceRecord
from tillstream.xlsx import MAX_CELL_CHARACTERS, SheetFullError, write_sheet

FLAT_FORMATS, JSON_FORMATS = (".csv", ".tsv", ".xlsx"), (".json", ".ndjson", ".jsonl")
_RAW_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
Write = Callable[[SourceRecord, str], None]


def check_format(path: Path, source: Source) -> None:
    """Raise `SourceError` unless the failed records of the source can be written to such a file.

    Better now than at the end of an import.
    """
    allowed = JSON_FORMATS if source.header is None else FLAT_FORMATS
    if path.suffix.lower() not in allowed:
        raise SourceError(f"--failed {path.name}: name a file with {' or '.join(allowed)} for records of this file")
    if not path.resolve().parent.is_dir():
        raise SourceError(f"--failed {path}: there is no directory {path.resolve().parent}")


def write_failed(path: Path, source: Source, manifest: ImportState, *, delimiter: str = ",") -> int:
    """Write the failed records in the order of the file; return how many there are."""
    written = 0
    failed = manifest.failed_records()
    number, faults = next(failed, (-1, []))
    with _writer(path, source, delimiter) as write:
        for record in source.records():
            if record.number == number:
                write(record, describe(faults))
                written += 1
                number, faults = next(failed, (-1, []))
            if number < 0:
                break
    return written


def describe(faults: Sequence[RecordFault]) -> str:
    """Return the faults of one record as text."""
    return "; ".join(f"{fault.field or '/'} {fault.code}: {fault.message}" for fault in faults)


@contextmanager
def _writer(path: Path, source: Source, delimiter: str) -> Iterator[Write]:
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        try:
            with _xlsx(path, source) as write:
                yield write
        except SheetFullError as error:
            raise SourceError(f"--failed {path}: {error}; name a .csv file and run the same command") from None
        return
    is_csv = suffix in FLAT_FORMATS
    # The byte order mark tells spreadsheets that it is UTF-8.
    with path.open("w", encoding="utf-8-sig" if is_csv else "utf-8", newline="") as file:
        if is_csv:
            yield _csv(file, source, "\t" if suffix == ".tsv" else delimiter)
        elif suffix == ".json":
            file.write("[")
            yield _json(file, before=("\n", ",\n"), after="")
            file.write("\n]\n")
        else:
            yield _json(file, before=("", ""), after="\n")


def _kept_columns(source: Source) -> list[int]:
    """Positions of all columns but that of earlier errors."""
    header = source.header or ()
    return [position for position, name in enumerate(header) if normalise(name) != normalise(ERRORS_COLUMN)]


def _flat_rows(record: SourceRecord, columns: Sequence[int], errors: str) -> Iterator[list[Any]]:
    for number, row in enumerate(record.rows):
        cells = [row[position] if position < len(row) else "" for position in columns]
        yield [*cells, errors if number == 0 else ""]


def _csv(file: TextIO, source: Source, delimiter: str) -> Write:
    columns, header = _kept_columns(source), source.header or ()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow([*(header[position] for position in columns), ERRORS_COLUMN])

    def write(record: SourceRecord, errors: str) -> None:
        for row in _flat_rows(record, columns, errors):
            writer.writerow([_as_text(cell) for cell in row])

    return write


@contextmanager
def _xlsx(path: Path, source: Source) -> Iterator[Write]:
    columns, header = _kept_columns(source), source.header or ()
    with write_sheet(path, "failed", columns=len(columns) + 1) as sheet:
        sheet.write_row([*(header[position] for position in columns), ERRORS_COLUMN])

        def write(record: SourceRecord, errors: str) -> None:
            # Text stays text: an id of digits must not become a number.
            for row in _flat_rows(record, columns, errors[:MAX_CELL_CHARACTERS]):
                sheet.write_row(row)

        yield write


def _json(file: TextIO, *, before: tuple[str, str], after: str) -> Write:
    is_first = True

    def write(record: SourceRecord, errors: str) -> None:
        nonlocal is_first
        fields = _RAW_OBJECT.decode(record.json)
        fields[ERRORS_COLUMN] = msgspec.Raw(msgspec.json.encode(errors))
        file.write(before[0] if is_first else before[1])
        file.write(msgspec.json.encode(fields).decode() + after)
        is_first = False

    return write


def _as_text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, dt.datetime):
        return cell.isoformat(" ")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)
