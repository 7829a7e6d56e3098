"""Opens a file of any format."""

from pathlib import Path

from tillstream.sources.csv_file import detect_encoding, open_csv
from tillstream.sources.flat import FlatOptions
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
_ZIP = b"PK\x03\x04"
_HEAD_BYTES = 64 * 1024


def open_source(path: Path, options: FlatOptions, *, format_: str | None = None) -> Source:
    """Return the file as a source; its format is told by its name, else by its content. Raises `SourceError`."""
    if path.is_dir():
        raise SourceError(f"{path} is a directory; name a file in it")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from None
    if not head.strip(b"\xef\xbb\xbf\xff\xfe \t\r\n\0"):
        raise SourceError(f"{path} is empty")
    format_ = format_ or _SUFFIXES.get(path.suffix.lower()) or _detect(path, head)
    if head.startswith(_ZIP) and format_ != "xlsx":
        format_ = "xlsx"
    if format_ == "xlsx":
        return open_xlsx(path, options)
    if format_ == "csv":
        return open_csv(path, options)
    return NdjsonSource(path) if format_ == "ndjson" else JsonSource(path)


def _detect(path: Path, head: bytes) -> str:
    if head.startswith(_ZIP):
        return "xlsx"
    text = head.decode(detect_encoding(path), errors="replace").lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return "json"
    if text.startswith("{"):
        first = text.splitlines()[0].rstrip()
        return "ndjson" if first.endswith("}") else "json"
    return "csv"
