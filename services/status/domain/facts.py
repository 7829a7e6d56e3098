"""What happened to a job, as its events say it."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct

# Letters of outcomes. An undecided record is a full stop.
SUCCEEDED, FAILED, UNPROCESSED, UNDECIDED = "S", "F", "U", "."


class JobKey(NamedTuple):
    """A job is identified by its site and its id: two sites cannot meet in one."""

    site: int
    job_id: str


class JobHeader(Struct, frozen=True, gc=False):
    """What every event of a job repeats."""

    key: JobKey
    total: int
    created_at: int
    mode: str
    type: str


class Fault(Struct, frozen=True, gc=False):
    """One reason why a record was not accepted."""

    code: str
    field: str
    message: str
    level: str
    product_id: str | None
    retryable: bool


class Failure(Struct, frozen=True, gc=False):
    """A record that was not accepted. `record` is JSON text, if the record is known."""

    index: int
    order_id: str | None
    return_id: str | None
    mode: str
    faults: Sequence[Fault]
    record: str | None


class OutcomeRun(Struct, frozen=True, gc=False):
    """What became of a stretch of records: a letter each from index `first` on.

    `rows` is a JSON array parallel to the letters, or empty where nothing is known. `failures` has one entry per
    F, ascending by index.
    """

    first: int
    outcomes: str
    rows: str = ""
    failures: Sequence[Failure] = ()

    @property
    def end(self) -> int:
        """The index after the last letter."""
        return self.first + len(self.outcomes)


class Opened(Struct, frozen=True, gc=False):
    """The job was taken in; `refused` holds those of its records that intake refused."""

    refused: OutcomeRun | None


class Judged(Struct, frozen=True, gc=False):
    """Records were judged."""

    run: OutcomeRun


class Expired(Struct, frozen=True, gc=False):
    """The deadline passed: what is undecided stays unprocessed."""


class JobEvent(Struct, frozen=True, gc=False):
    """One fact, when it happened, and whose it is."""

    header: JobHeader
    at: int
    fact: Opened | Judged | Expired
