"""JSON and NDJSON: records are sent as they are, digit by digit, but without the errors of an earlier import."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import msgspec

from tillstream.sources.columns import ERRORS_COLUMN
from tillstream.sources.csv_file import choose_encoding
from tillstream.sources.records import SourceError, SourceRecord

_CHUNK = 1 << 20
_MAX_RECORD = 8 << 20
_NOT_BLANK = re.compile(r"[^ \t\r\n]")
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
# What the API accepts, in an array of records; one record beyond it would make it refuse the others of its request.
MAX_DEPTH = 63
_ERRORS = f'"{ERRORS_COLUMN}"'.encode()
_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


class NdjsonSource:
    """One record a line."""

    header = None

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self._path = path
        self.encoding = choose_encoding(path, encoding)
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
        number = line = 0
        with self._path.open(encoding=self.encoding, newline="\n") as file:
            try:
                for line, text in enumerate(file, 1):
                    body = text.strip().encode()
                    if body:
                        _require_object(body, line)
                        _require_shallow(text, line)
                        yield SourceRecord(number, line, _without_errors(body), [[text.strip()]])
                        number += 1
            except UnicodeError:
                raise SourceError(f"line {line + 1}: not {self.encoding}; save the file in UTF-8") from None


class JsonSource:
    """An array of records, read piece by piece; or a single record."""

    header = None

    def __init__(self, path: Path, *, encoding: str | None = None) -> None:
        self._path = path
        self.encoding = choose_encoding(path, encoding)
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
            _require_shallow(text, line)
            yield SourceRecord(number, line, _without_errors(text.encode()), [[text]])

    def _elements(self) -> Iterator[tuple[int, str]]:
        with self._path.open(encoding=self.encoding) as file:
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


def _without_errors(body: bytes) -> bytes:
    """Return the record without the field that `--failed` has added."""
    if _ERRORS not in body:
        return body
    fields = _OBJECT.decode(body)
    return body if fields.pop(ERRORS_COLUMN, None) is None else msgspec.json.encode(fields)


def _require_object(body: bytes, line: int) -> None:
    try:
        _OBJECT.decode(body)
    except (msgspec.MsgspecError, RecursionError) as error:
        hint = "; an array of records is JSON: --format json" if body.startswith(b"[") else ""
        raise SourceError(f"line {line}: not a JSON object ({error}); each line is one record{hint}") from None


def _require_shallow(text: str, line: int) -> None:
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return
    depth = 0
    for found in _STRUCTURE.finditer(text):
        depth += (found.group(1) is not None) - (found.group(2) is not None)
        if depth > MAX_DEPTH:
            raise SourceError(f"line {line}: the record is nested more than {MAX_DEPTH} levels deep")


class _NoNumberError(ValueError):
    """A JSON value is NaN or Infinity, as some programs write it."""


def _refuse_constant(name: str) -> None:
    raise _NoNumberError(f"{name} is no JSON number; write null")


class _Scanner:
    """Reads JSON values from a file of any size, keeping about one piece of it."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._text = ""
        self._at = 0
        # Numbers are sent as they are written: they need not be read.
        self._decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)
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
            except _NoNumberError as error:
                raise SourceError(f"the record that begins in line {self.line}: {error}") from None
            except RecursionError:
                message = f"line {self.line}: the record is nested more than {MAX_DEPTH} levels deep"
                raise SourceError(message) from None
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
        try:
            chunk = self._file.read(_CHUNK)
        except UnicodeDecodeError as error:
            raise SourceError(f"after line {self.line}: not {error.encoding}; save the file in UTF-8") from None
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)
