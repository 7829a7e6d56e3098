"""What happens to import jobs, as events for whoever reports on them; the names and the order are the schema's."""

from msgspec import Struct

WARNING, ERROR = "WARNING", "ERROR"
SUCCEEDED, FAILED, SILENT = "S", "F", "."


class JobHeader(Struct, frozen=True, gc=False):
    """What every record and every event of an import job repeats of it. A job is identified by (site, job_id)."""

    site: int
    job_id: str
    total: int
    created_at: int
    mode: str
    type: str


class JobRef(Struct, frozen=True, gc=False):
    """The import job that a record belongs to, and its place in it."""

    job_id: str
    index: int
    total: int
    created_at: int
    mode: str
    type: str


def of_job(header: JobHeader, *, index: int) -> JobRef:
    """The place of record `index` in a job."""
    return JobRef(header.job_id, index, header.total, header.created_at, header.mode, header.type)


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
    faults: list[Fault]
    record: str | None


class Run(Struct, frozen=True, gc=False):
    """What became of a stretch of a job's records."""

    first: int
    outcomes: str
    rows: str
    failures: list[Failure]


class Opened(Struct, frozen=True, gc=False):
    """Intake acknowledged the job; these of its records it refused."""

    refused: Run | None


class Judged(Struct, frozen=True, gc=False):
    """Records were judged."""

    run: Run


class Expired(Struct, frozen=True, gc=False):
    """The job's deadline passed."""


class JobEvent(Struct, frozen=True, gc=False):
    """Something that happened to an import job."""

    site: int
    job_id: str
    total: int
    created_at: int
    mode: str
    type: str
    at: int
    fact: Opened | Judged | Expired


def event(header: JobHeader, fact: Opened | Judged | Expired, *, at_us: int) -> JobEvent:
    """A fact about a job, with what every event repeats of it."""
    return JobEvent(header.site, header.job_id, header.total, header.created_at, header.mode, header.type, at_us, fact)
