"""Opens a file of any format."""

from pathlib import Path

from tillstream.sources.csv_file import detect_encoding, open_csv
from tillstream.sources.flat import FlatOptions, FlatSource, Table
from tillstream.sources.json_file import JsonSource, NdjsonSource
from tillstream.sources.records import Source, SourceError
from tillstream.sources.xlsx_file import open_xlsx

FORMATS = ("csv", "ndjson", "json", "xlsx")
_SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
    ".json": "json",
    ".xlsx": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
}
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_UNPACK = "is compressed; unpack it first, or pipe it: zcat FILE | tillstream import -"
_UNREADABLE = {
    b"\x1f\x8b": _UNPACK,
    b"BZh": _UNPACK,
    b"\xfd7zXZ": _UNPACK,
    b"(\xb5/\xfd": _UNPACK,
    b"7z\xbc\xaf": _UNPACK,
    b"%PDF": "is a PDF document; export the sales as CSV or XLSX",
}
_HEAD_BYTES = 64 * 1024


def open_source(path: Path, options: FlatOptions, *, format_: str | None = None) -> Source:
    """Return the file as a source; its format is told by its name, else by its content. Raises `SourceError`."""
    format_ = detect_format(path, format_)
    if format_ == "ndjson":
        return NdjsonSource(path, encoding=options.encoding)
    if format_ == "json":
        return JsonSource(path, encoding=options.encoding)
    return FlatSource(open_table(path, options, format_), options)


def open_table(path: Path, options: FlatOptions, format_: str) -> Table:
    """Return the rows of a CSV file or a spreadsheet, by what `detect_format` says; raises `SourceError`."""
    return open_xlsx(path, options) if format_ == "xlsx" else open_csv(path, options)


def detect_format(path: Path, format_: str | None = None) -> str:
    """Return one of `FORMATS`: the given one, unless the content contradicts it. Raises `SourceError`."""
    if path.is_dir():
        raise SourceError(f"{path} is a directory; name a file in it")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0"):
        raise SourceError(f"{path} is empty")
    for magic, problem in _UNREADABLE.items():
        if head.startswith(magic):
            raise SourceError(f"{path} {problem}")
    is_workbook = head.startswith((_ZIP, _OLE))
    format_ = format_ or _SUFFIXES.get(path.suffix.lower())
    if is_workbook or format_ is None or (format_ == "xlsx" and not is_workbook):
        # Many a CSV file is called .xls.
        format_ = "xlsx" if is_workbook else _detect(path, head)
    return format_


def _detect(path: Path, head: bytes) -> str:
    text = head.decode(detect_encoding(path), errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return "json"
    if text.startswith("{"):
        first = text.splitlines()[0].rstrip()
        return "ndjson" if first.endswith("}") else "json"
    if text.startswith("<"):
        raise SourceError(f"{path} is HTML or XML; open it in a spreadsheet and save it as XLSX or CSV")
    return "csv"
