"""What a file of sales is read as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tillstream.errors import TillstreamError


class SourceError(TillstreamError):
    """The file cannot be imported as it is; the message says where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class LocalFault:
    """Why a record is not sent: sent, it would become another one than the file means."""

    code: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class SourceRecord:
    """One record: its number in the file from 0, its first line from 1, its JSON, and the rows that it was made of."""

    number: int
    line: int
    json: bytes
    rows: Sequence[Sequence[Any]]
    fault: LocalFault | None = None


class Source(Protocol):
    """A file that can be read several times, always with the same records."""

    findings: list[str]
    warnings: list[str]

    @property
    def header(self) -> Sequence[str] | None:
        """Names of the columns; None if the file holds JSON."""

    def count(self) -> int:
        """Read the whole file once and return the number of records; raises `SourceError`."""

    def records(self) -> Iterator[SourceRecord]:
        """Yield the records in the order of the file."""
