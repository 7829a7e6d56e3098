"""What happens to an import job, as events. Names and their order are those of the schema `job_event`."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

WARNING, ERROR = "WARNING", "ERROR"
# Outcomes of records, one character each.
SUCCEEDED, FAILED, UNDECIDED = "S", "F", "."

_JOB_ID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")


class JobKey(NamedTuple):
    """Identifies a job; the site is part of it, so that sites cannot see or change each other's jobs."""

    site: int
    job_id: str


class JobRef(Struct, frozen=True, gc=False):
    """The import job that a record belongs to, and the record's position in it."""

    job_id: str
    index: int
    total: int
    created_at: int
    mode: str
    type: str


class JobHeader(Struct, frozen=True, gc=False):
    """What every event of an import job repeats. `created_at` is in microseconds."""

    key: JobKey
    total: int
    created_at: int
    mode: str
    type: str

    @property
    def site(self) -> int:
        """The number of the site that sent the job."""
        return self.key.site

    @property
    def job_id(self) -> str:
        """The job's id alone."""
        return self.key.job_id

    def ref(self, index: int) -> JobRef:
        """The reference that record `index` of the job carries."""
        return JobRef(self.key.job_id, index, self.total, self.created_at, self.mode, self.type)


class Fault(Struct, frozen=True, gc=False):
    """One reason why a record was not accepted. `field` is a JSON pointer, empty for the record as a whole."""

    code: str
    field: str
    message: str
    level: str = WARNING
    product_id: str | None = None
    retryable: bool = False


class Failure(Struct, frozen=True, gc=False):
    """A record that was not accepted, and why; `record` is JSON text."""

    index: int
    order_id: str | None
    return_id: str | None
    mode: str
    faults: Sequence[Fault]
    record: str | None


class OutcomeRun(Struct, frozen=True, gc=False):
    """The outcomes of consecutive records of a job, from index `first` on.

    `rows` is a JSON array with the ids of each record, or empty where they are unknown. `failures` has an entry for
    each F among the outcomes, ascending by index.
    """

    first: int
    outcomes: str
    rows: str = ""
    failures: Sequence[Failure] = ()

    @property
    def end(self) -> int:
        """The index after the last outcome."""
        return self.first + len(self.outcomes)


class Opened(Struct, frozen=True, gc=False):
    """Ingest accepted the job; `refused` holds the records that it rejected itself."""

    refused: OutcomeRun | None


class Judged(Struct, frozen=True, gc=False):
    """The validator judged some of the job's records."""

    run: OutcomeRun


class Expired(Struct, frozen=True, gc=False):
    """The job's deadline passed: its undecided records stay unprocessed."""


Fact = Opened | Judged | Expired


class JobEvent(Struct, frozen=True, gc=False):
    """A fact about a job, and when it happened, in microseconds."""

    header: JobHeader
    at: int
    fact: Fact


def parse_job_id(text: str) -> str | None:
    """The job id in its stored form, lower case; None if the text is not a UUID."""
    return text.lower() if _JOB_ID.fullmatch(text) else None
