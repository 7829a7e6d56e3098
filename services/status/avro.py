"""Job events as Kafka carries them.

They are read by hand: a general decoder and its dictionaries would take half of the time that status spends on a job.
The tests compare what is read here with what an Avro library reads.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

from fastavro import schemaless_writer

from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import LENGTH, UnknownWireFormatError, unframe
from services.status.avro_failures import MODES, read_failures
from services.status.avro_values import read_long, read_text
from services.status.domain.facts import Expired, Failure, JobEvent, JobHeader, JobKey, Judged, Opened, OutcomeRun
from services.status.domain.letters import find_indexes
from services.status.wire import parse_job_id
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US

SCHEMA = "job_event"
MAX_JOB_RECORDS = 100_000
# Of 64 bits: ten bytes may hold more, and MongoDB has no room for that.
MAX_SITE = 2**63 - 1
TYPES = {0: "orders", 2: "returns"}

_NUMBER = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
_ENUM = rb"[\x00\x02]"
# Site, id, total, creation, mode and type are the same bytes in every event of a job; its time and its fact follow.
_HEADER = re.compile(
    rb"(%b\x48.{36}%b%b%b%b)(%b)([\x00\x02\x04])" % (_NUMBER, _NUMBER, _NUMBER, _ENUM, _ENUM, _NUMBER), re.DOTALL
)
_OPENED, _JUDGED = b"\x00", b"\x02"


class MalformedEventError(ValueError):
    """Bytes that are no job event; `reason` is for the dead letter."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class EventReader:
    """Reads job events from Kafka's values."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._prefix = schemas[SCHEMA].prefix

    def read(self, value: bytes | None) -> JobEvent:
        """The event, in whichever version it was written; raises `Malformed`."""
        if value is None or not value.startswith(self._prefix):
            value = self._to_current_version(value)
        try:
            event, at = _read_event(value, len(self._prefix))
        except MalformedEventError:
            raise
        except (LookupError, ValueError) as error:
            raise MalformedEventError("undecodable", type(error).__name__) from error
        if at != len(value):
            raise MalformedEventError("undecodable", "bytes are missing or left over")
        return event

    def _to_current_version(self, value: bytes | None) -> bytes:
        try:
            schema_id, _ = unframe(value)
        except UnknownWireFormatError as error:
            raise MalformedEventError("unknown-framing", str(error)) from error
        version = self._schemas.by_id(schema_id)
        if value is None or version is None or version.name != SCHEMA:
            raise MalformedEventError("unknown-schema", f"schema id {schema_id} is not a job event's")
        try:
            return self._prefix + transcode(value, LENGTH, version, self._schemas[SCHEMA])
        except ValueError as error:
            raise MalformedEventError("undecodable", str(error)) from error


class EventWriter:
    """Writes the job events that are status' own."""

    def __init__(self, schemas: Schemas) -> None:
        self._schema = schemas[SCHEMA]

    def expired(self, header: JobHeader, *, at_us: int) -> tuple[bytes, bytes]:
        """Key and value of the event that ends a job."""
        told = {
            "site": header.key.site,
            "jobId": header.key.job_id,
            "total": header.total,
            "createdAt": header.created_at,
            "mode": header.mode,
            "type": header.type,
            "at": at_us,
            "fact": ("tillstream.Expired", {}),
        }
        body = BytesIO()
        schemaless_writer(body, self._schema.plain, told)
        # Neither part can hold what separates them.
        return f"{header.key.site}|{header.key.job_id}".encode(), self._schema.prefix + body.getvalue()


def _read_event(data: bytes, at: int) -> tuple[JobEvent, int]:
    """The event and where it ends: beyond the end of the data if that broke off in a text."""
    head = _HEADER.match(data, at)
    if head is None:
        raise _header_error(data, at)
    header, at_us, fact, at = _parse_header(head[1]), _parse_instant(head[2]), head[3], head.end()
    if fact == _JUDGED:
        run, at = _read_run(data, at, "SF.")
        return JobEvent(header, at_us, Judged(run)), at
    if fact == _OPENED:
        refused, at = _read_refused(data, at)
        return JobEvent(header, at_us, Opened(refused)), at
    return JobEvent(header, at_us, Expired()), at


def _header_error(data: bytes, at: int) -> MalformedEventError:
    _, at = read_long(data, at)
    text, at = read_text(data, at)
    if at <= len(data) and parse_job_id(text) is None:
        return MalformedEventError("unprocessable", "the job id is no UUID")
    return MalformedEventError("undecodable", "the header is none")


@lru_cache(maxsize=4096)
def _parse_header(data: bytes) -> JobHeader:
    site, at = read_long(data, 0)
    text, at = read_text(data, at)
    total, at = read_long(data, at)
    created_us, at = read_long(data, at)
    job_id = parse_job_id(text)
    if job_id is None:
        raise MalformedEventError("unprocessable", "the job id is no UUID")
    if not -MAX_SITE - 1 <= site <= MAX_SITE:
        raise MalformedEventError("unprocessable", "the site is out of bounds")
    if not 0 < total <= MAX_JOB_RECORDS:
        raise MalformedEventError("unprocessable", "the total is out of bounds")
    return JobHeader(JobKey(site, job_id), total, _validate_instant(created_us), MODES[data[at]], TYPES[data[at + 1]])


@lru_cache(maxsize=4096)
def _parse_instant(data: bytes) -> int:
    return _validate_instant(read_long(data, 0)[0])


def _validate_instant(at_us: int) -> int:
    if not MIN_INSTANT_US <= at_us <= MAX_INSTANT_US:
        raise MalformedEventError("unprocessable", "a time is out of bounds")
    return at_us


def _read_refused(data: bytes, at: int) -> tuple[OutcomeRun | None, int]:
    branch = data[at]
    if branch == 0:
        return None, at + 1
    if branch != 2:
        raise ValueError("no such branch")
    return _read_run(data, at + 1, "F.")


def _read_run(data: bytes, at: int, alphabet: str) -> tuple[OutcomeRun, int]:
    first, at = read_long(data, at)
    letters, at = read_text(data, at)
    rows, at = read_text(data, at)
    failures: Sequence[Failure] = ()
    if data[at]:
        failures, at = read_failures(data, at)
    else:
        # Most runs have none, and then their array is a single zero.
        at += 1
    if first < 0 or not letters or letters.strip(alphabet):
        raise MalformedEventError("unprocessable", "a run is not made of outcomes")
    if failures or "F" in letters:
        if [one.index - first for one in failures] != list(find_indexes(letters, "F")):
            raise MalformedEventError("unprocessable", "failures and outcomes differ")
        if not all(one.faults for one in failures):
            raise MalformedEventError("unprocessable", "a failure names no fault")
    return OutcomeRun(first, letters, rows, failures), at
