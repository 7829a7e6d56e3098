"""CSV: encoding and delimiter are detected."""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tillstream.sources.columns import ColumnMap
from tillstream.sources.flat import MAX_ROWS_BEFORE_HEADER, FlatOptions, FlatSource
from tillstream.sources.records import SourceError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CHUNK = 1 << 20
csv.field_size_limit(4 * 1024 * 1024)


def open_csv(path: Path, options: FlatOptions) -> FlatSource:
    """Return the file as a source; raises `SourceError`."""
    encoding = detect_encoding(path)
    delimiter = _detect_delimiter(path, encoding, ColumnMap(options.kind, options.mapping))
    findings = [f"CSV, {encoding.upper().replace('-SIG', ' with byte order mark')}, {DELIMITERS[delimiter]}"]
    source = FlatSource(lambda: _rows(path, encoding, delimiter), options, findings)
    source.delimiter, source.encoding = delimiter, encoding  # type: ignore[attr-defined]
    return source


def detect_encoding(path: Path) -> str:
    """Return the encoding: by byte order mark or zero bytes, UTF-8 if all of the file is valid, else Windows-1252."""
    with path.open("rb") as file:
        head = file.read(4096)
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding
        if b"\0" in head:
            return "utf-16-be" if head[:1] == b"\0" else "utf-16-le"
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            while chunk := file.read(_CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _detect_delimiter(path: Path, encoding: str, columns: ColumnMap) -> str:
    def score(delimiter: str) -> int:
        best = 0
        try:
            for number, (_, row) in enumerate(_rows(path, encoding, delimiter)):
                if number >= MAX_ROWS_BEFORE_HEADER:
                    break
                best = max(best, columns.score(row))
        except SourceError:
            pass
        return best

    return max(DELIMITERS, key=score)


def _rows(path: Path, encoding: str, delimiter: str) -> Iterator[tuple[int, list[Any]]]:
    """Yield the rows with the number of the line that each begins in."""
    with path.open(encoding=encoding, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        try:
            for row in reader:
                yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise SourceError(
                f"line {line}: not valid CSV ({error}); a double quote inside a quoted value is written twice"
            ) from None
        except UnicodeError:
            raise SourceError(f"near line {line}: not {encoding}; save the file as CSV in UTF-8") from None
