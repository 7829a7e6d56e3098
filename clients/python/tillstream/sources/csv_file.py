"""CSV: encoding and delimiter are detected."""

import codecs
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tillstream.sources.columns import ColumnMap
from tillstream.sources.flat import MAX_ROWS_BEFORE_HEADER, FlatOptions, Table
from tillstream.sources.records import SourceError

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
# The mark of UTF-32 begins with that of UTF-16.
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HEAD_BYTES = 4096
_CHUNK = 1 << 20
MAX_CELL_CHARACTERS = 4 * 1024 * 1024
csv.field_size_limit(MAX_CELL_CHARACTERS)


def open_csv(path: Path, options: FlatOptions) -> Table:
    """Return the rows of the file; raises `SourceError`."""
    encoding = choose_encoding(path, options.encoding)
    delimiter = options.delimiter or _detect_delimiter(path, encoding, ColumnMap(options.kind, options.mapping))
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise SourceError(f"{delimiter!r} is no delimiter; a delimiter is one character, such as a semicolon")
    name = DELIMITERS.get(delimiter, repr(delimiter))
    findings = [f"CSV, {encoding.upper().replace('-SIG', ' with byte order mark')}, {name}"]
    return Table(lambda: _rows(path, encoding, delimiter), findings, delimiter, encoding)


def choose_encoding(path: Path, chosen: str | None) -> str:
    """Return the chosen encoding, else the detected one; raises `SourceError`."""
    if chosen is None:
        return detect_encoding(path)
    try:
        # Refuses codecs that are not of text, too.
        "".encode(chosen)
    except LookupError:
        raise SourceError(f"{chosen} is no known encoding of text; write one such as utf-8 or cp1252") from None
    name = codecs.lookup(chosen).name
    # A byte order mark is no part of the first value.
    return "utf-8-sig" if name == "utf-8" else name


def detect_encoding(path: Path) -> str:
    """Return the encoding: by byte order mark or zero bytes, UTF-8 if all of the file is valid, else Windows-1252.

    Raises `SourceError` for a file that is not text.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        for mark, encoding in _BOMS:
            if head.startswith(mark):
                return encoding
        if utf16 := _utf16(head):
            return utf16
        file.seek(0)
        decoder = codecs.getincrementaldecoder("utf-8")()
        found, line = "utf-8", 1
        while chunk := file.read(_CHUNK):
            if b"\0" in chunk:
                line += chunk.count(b"\n", 0, chunk.index(b"\0"))
                raise SourceError(
                    f"line {line}: a zero byte; the file is no text, or damaged: save it as CSV in UTF-8, or as XLSX"
                )
            line += chunk.count(b"\n")
            if found == "utf-8":
                try:
                    decoder.decode(chunk, final=len(chunk) < _CHUNK)
                except UnicodeDecodeError:
                    found = "cp1252"
    return found


def _utf16(head: bytes) -> str | None:
    """Return the encoding of UTF-16 without a mark: every other byte of most of its characters is zero."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) * 10 < len(head) or min(even, odd) * 4 > max(even, odd):
        return None
    return "utf-16-le" if odd > even else "utf-16-be"


def _detect_delimiter(path: Path, encoding: str, columns: ColumnMap) -> str:
    def score(delimiter: str) -> tuple[int, int]:
        best = cells = 0
        try:
            for number, (_, row) in enumerate(_rows(path, encoding, delimiter)):
                if number >= MAX_ROWS_BEFORE_HEADER:
                    break
                best, cells = max(best, columns.score(row)), max(cells, len(row))
        except SourceError:
            pass
        # Of headings that are all unknown, only their number tells.
        return best, 0 if best else cells

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
            raise SourceError(f"line {line}: {_describe(error)}") from None
        except UnicodeError:
            raise SourceError(f"near line {line}: not {encoding}; save the file as CSV in UTF-8") from None


def _describe(error: csv.Error) -> str:
    text = str(error)
    if "field limit" in text:
        return (
            f"a value of more than {MAX_CELL_CHARACTERS:,} characters; is a double quote in this line or before it "
            "never closed?"
        )
    if "end of data" in text:
        return "not valid CSV (a double quote that begins a value is never closed); close it, or remove it"
    return f"not valid CSV ({text}); a double quote inside a quoted value is written twice"
