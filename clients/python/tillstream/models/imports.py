"""Imports, jobs and their records."""

from datetime import datetime
from typing import Any, Literal

from msgspec import field

from tillstream.models.base import Model

Kind = Literal["orders", "returns"]
Mode = Literal["offline", "online"]
Outcome = Literal["succeeded", "failed", "unprocessed"]


class Note(Model, frozen=True):
    """What was normalised or ignored; without `index` it is about the whole body."""

    code: str
    detail: str
    index: int | None = None


class Fault(Model, frozen=True):
    """Why a record was not accepted. `field` is a JSON pointer; a `retryable` record can be accepted later."""

    code: str
    field: str
    message: str
    retryable: bool = False

    @property
    def product_id(self) -> str | None:
        """The product that is not in the catalogue, if that is the fault."""
        return self.message.rpartition(" ")[2] if self.code == "PRODUCT_NOT_FOUND" else None


class Accepted(Model, frozen=True):
    """An accepted import: its job, and what is known so far; the catalogue is checked afterwards."""

    message: str
    time: int
    job_id: str
    notes: list[Note] = field(default_factory=list)


class Validated(Model, frozen=True):
    """What an import would come to; `catalogue_as_of` is the state of the catalogue that was used."""

    message: str
    time: int
    catalogue_as_of: datetime | None
    records: list["RecordResult"]
    notes: list[Note] = field(default_factory=list)


class RecordResult(Model, frozen=True):
    """The outcome of one record. An order has an `id`, a return `order_id` and `return_id`."""

    index: int
    user_id: str | None
    outcome: Outcome
    faults: list[Fault]
    id: str | None = None
    order_id: str | None = None
    return_id: str | None = None
    notes: list[Note] = field(default_factory=list)
    record: Any = None
    late_outcome: str | None = None


class Limits(Model, frozen=True):
    """The limits of the site, and what is left of them."""

    records_per_second: int
    remaining: int
    reset_after_seconds: int
    records_per_request: int
    bytes_per_request: int
    inflated_bytes_per_request: int


class RecordCounts(Model, frozen=True):
    """How many records of a job came to what."""

    total: int
    success: int
    failed: int
    unprocessed: int = 0


class Baggage(Model, frozen=True):
    """What a job carries."""

    records: RecordCounts


class JobAttributes(Model, frozen=True):
    """Mode and type of a job or of an event; an event names its record, too."""

    mode: str
    type: str
    order_id: str | None = None
    return_id: str | None = None
    index: int | None = None
    code: str | None = None
    field: str | None = None
    product_id: str | None = None


class Job(Model, frozen=True):
    """An import job. `terminal` is whether it has ended."""

    job_id: str
    name: str
    state: str
    status: str
    terminal: bool
    job_created: str
    last_modified: str
    completed_at: str | None
    duration: str
    baggage: Baggage
    attributes: JobAttributes

    @property
    def counts(self) -> RecordCounts:
        """The counts of the job's records."""
        return self.baggage.records


class Event(Model, frozen=True):
    """One event of a job: a fault (WARNING, ERROR), a good record (DETAIL) or the end (SUMMARY)."""

    status_id: str
    task_id: str
    message: str
    level: str
    timestamp: str
    attributes: JobAttributes
