"""What a request to import becomes: records that are accepted, records that are not, and notes."""

from datetime import UTC, tzinfo
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from services.jobs.events import Fault
from services.sales.records import SalesRecord

MAX_RECORDS = 100


class NoteCode(StrEnum):
    """What was normalised or ignored without refusing anything."""

    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    TIMEZONE_ASSUMED = "TIMEZONE_ASSUMED"
    RETURN_ON_ORDERS_PATH = "RETURN_ON_ORDERS_PATH"
    TRAILING_CHARACTERS_IGNORED = "TRAILING_CHARACTERS_IGNORED"


class Note(Struct, frozen=True, gc=False):
    """Something the client may want to know; `index` is None where the whole body is meant."""

    index: int | None
    code: str
    detail: str


class ImportTarget(NamedTuple):
    """Where a body was sent.

    `user_id` (decoded) stands in the path of a PUT, which takes one record; `mode` is the query's, known and in lower
    case.
    """

    kind: str
    user_id: str | None = None
    mode: str | None = None


class SiteDefaults(NamedTuple):
    """What the site, and the apiKey in the path, say about records."""

    site: int
    time_zone: tzinfo = UTC
    channel: str | None = None


class RejectedRecord(Struct, frozen=True, gc=False):
    """A record that intake does not accept. Ids are None where they are missing or at fault themselves.

    `received` is the record as JSON, without the personal data that it was refused for; None for a very large one.
    """

    index: int
    order_id: str | None
    return_id: str | None
    user_id: str | None
    mode: str
    faults: list[Fault]
    received_json: str | None


class Batch(Struct, frozen=True):
    """The records of one request, good and bad sorted, each with its index; `kind` and `mode` are the job's."""

    kind: str
    mode: str
    total: int
    accepted: list[tuple[int, SalesRecord]]
    rejected: list[RejectedRecord]
    notes: list[Note]


class InvalidBodyError(Exception):
    """The body as a whole cannot be imported. `detail` quotes nothing of it; `pointer` is where it is at fault."""

    def __init__(self, status: int, code: str, detail: str, *, pointer: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer
