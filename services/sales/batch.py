"""What a request to import records asks for, and what it becomes: accepted and rejected records, and notes."""

from datetime import UTC, tzinfo
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from services.jobs.events import Fault
from services.sales.field_types import RuleContext
from services.sales.records import SalesRecord

MAX_RECORDS = 100


class NoteCode(StrEnum):
    """What was normalised or ignored without rejecting anything."""

    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    TIMEZONE_ASSUMED = "TIMEZONE_ASSUMED"
    RETURN_ON_ORDERS_PATH = "RETURN_ON_ORDERS_PATH"
    TRAILING_CHARACTERS_IGNORED = "TRAILING_CHARACTERS_IGNORED"


class Note(Struct, frozen=True, gc=False):
    """A note to the client; `index` is None if it is about the whole body."""

    index: int | None
    code: str
    detail: str


class ImportTarget(NamedTuple):
    """The path and query of the request.

    `user_id` (decoded) is in the path of a PUT, which holds one record; `mode` is the query's, valid and in lower case.
    """

    kind: str
    user_id: str | None = None
    mode: str | None = None


class SiteDefaults(NamedTuple):
    """Values that the site and the apiKey in the path set in each record."""

    site: int
    time_zone: tzinfo = UTC
    channel: str | None = None


class ImportContext(NamedTuple):
    """What reading the records of a request depends on besides their JSON."""

    target: ImportTarget
    defaults: SiteDefaults
    rules: RuleContext


class RejectedRecord(Struct, frozen=True, gc=False):
    """A record that ingest rejects. Ids are None if they are absent or invalid.

    `received_json` is the record as received, without the personal data that it was rejected for; None for a very
    large one.
    """

    index: int
    order_id: str | None
    return_id: str | None
    user_id: str | None
    mode: str
    faults: list[Fault]
    received_json: str | None


class Batch(Struct, frozen=True):
    """The records of one request, accepted and rejected, each with its index; `kind` and `mode` are the job's."""

    kind: str
    mode: str
    total: int
    accepted: list[tuple[int, SalesRecord]]
    rejected: list[RejectedRecord]
    notes: list[Note]


class InvalidBodyError(Exception):
    """The body as a whole cannot be imported. `detail` quotes nothing of it; `pointer` locates what is wrong."""

    def __init__(self, status: int, code: str, detail: str, *, pointer: str = "") -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer
