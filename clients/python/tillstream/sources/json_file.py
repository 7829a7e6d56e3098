"""JSON and NDJSON: records are sent as they are in the file, digit by digit."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from tillstream.sources.csv_file import detect_encoding
from tillstream.sources.records import SourceError, SourceRecord

_CHUNK = 1 << 20
_MAX_RECORD = 8 << 20
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class NdjsonSource:
    """One record a line."""

    header = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoding = detect_encoding(path)
        self.findings = ["NDJSON"]
        self.warnings: list[str] = []

    def count(self) -> int:
        """Return the number of records; raises `SourceError` for a line that is no JSON object."""
        number = 0
        for record in self.records():
            number = record.number + 1
        if not number:
            raise SourceError("the file is empty")
        return number

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records in the order of the file."""
        number = 0
        with self._path.open(encoding=self._encoding, newline="\n") as file:
            for line, text in enumerate(file, 1):
                body = text.strip().encode()
                if not body:
                    continue
                try:
                    _OBJECT.decode(body)
                except msgspec.MsgspecError as error:
                    raise SourceError(f"line {line}: not a JSON object ({error}); each line is one record") from None
                yield SourceRecord(number, line, body, [[text.strip()]])
                number += 1


class JsonSource:
    """An array of records, read piece by piece; or a single record."""

    header = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._encoding = detect_encoding(path)
        self.findings = ["JSON"]
        self.warnings: list[str] = []

    def count(self) -> int:
        """Return the number of records; raises `SourceError` if the file is no array of objects."""
        number = 0
        for record in self.records():
            number = record.number + 1
        if not number:
            raise SourceError("the array is empty")
        return number

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records in the order of the file."""
        for number, (line, text) in enumerate(self._elements()):
            if not text.startswith("{"):
                raise SourceError(f"line {line}: an element is no JSON object; the file is an array of records")
            yield SourceRecord(number, line, text.encode(), [[text]])

    def _elements(self) -> Iterator[tuple[int, str]]:
        with self._path.open(encoding=self._encoding) as file:
            scanner = _Scanner(file)
            if scanner.peek() != "[":
                yield scanner.element()
                scanner.require_end()
                return
            scanner.skip()
            while scanner.peek() != "]":
                yield scanner.element()
                if scanner.peek() == ",":
                    scanner.skip()
                    if scanner.peek() == "]":
                        raise SourceError(f"line {scanner.line}: a comma before the closing bracket; remove it")
                elif scanner.peek() != "]":
                    raise SourceError(
                        f"line {scanner.line}: not valid JSON (a comma or the closing bracket is missing)"
                    )
            scanner.skip()
            scanner.require_end()


class _Scanner:
    """Reads JSON values from a file of any size, keeping about one piece of it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        self._decoder = json.JSONDecoder()
        self.line = 1

    def peek(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            found = _NOT_BLANK.search(self._text, self._at)
            end = len(self._text) if found is None else found.start()
            self.line += self._text.count("\n", self._at, end)
            self._at = end
            if found is not None:
                return found.group()
            if not self._read():
                return ""

    def skip(self) -> None:
        """Skip the character that was peeked."""
        self._at += 1

    def element(self) -> tuple[int, str]:
        """Return line and text of the next value; raises `SourceError`."""
        self.peek()
        while True:
            try:
                _, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                if len(self._text) - self._at < _MAX_RECORD and self._read():
                    continue
                where = self.line + self._text.count("\n", self._at, error.pos)
                raise SourceError(f"line {where}: not valid JSON ({error.msg})") from None
            line, text = self.line, self._text[self._at : end]
            self.line += text.count("\n")
            self._at = end
            return line, text

    def require_end(self) -> None:
        """Raise `SourceError` if anything follows."""
        if self.peek():
            raise SourceError(
                f"line {self.line}: the JSON text ends here, and more follows; one record a line is NDJSON: "
                "--format ndjson"
            )

    def _read(self) -> bool:
        """Read on; return False at the end of the file."""
        chunk = self._file.read(_CHUNK)
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)
