"""Job events to Avro and back.

The header is the same bytes in every event of a job: it is decoded once and then found by its bytes. The rest is read
and written by code that is generated from the schema (ADR 10 has the figures).
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from services.avro.codec import Codec
from services.avro.varints import AvroDecodeError, read_length, read_varint
from services.jobs.events import (
    FAILED,
    Expired,
    Fact,
    Failure,
    Fault,
    JobEvent,
    JobHeader,
    JobKey,
    Judged,
    Opened,
    OutcomeRun,
    parse_job_id,
)
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US

MAX_JOB_RECORDS = 100_000

_VARINT = rb"[\x80-\xff]{0,9}[\x00-\x7f]"
# Site, job id, total, creation, mode and type.
_HEADER = re.compile(rb"%b\x48[0-9A-Fa-f-]{36}%b%b[\x00\x02][\x00\x02]" % (_VARINT, _VARINT, _VARINT))


class MalformedEventError(ValueError):
    """Bytes that are not a usable job event; `reason` is the dead letter's."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Header(Struct, gc=False):
    """The fields of an event that its job's events have in common, flat as in the schema."""

    site: int
    job_id: str
    total: int
    created_at: int
    mode: str
    type: str


class _Body(Struct, gc=False):
    """The other fields of an event."""

    at: int
    fact: Fact


class JobEventCodec:
    """Encodes and decodes job events; `definition` is the schema as parsed JSON.

    `prefix` (the wire format's header) goes before everything that is encoded.
    """

    def __init__(self, definition: Mapping[str, Any], *, prefix: bytes = b"") -> None:
        self._headers = Codec[_Header](
            definition, {"JobEvent": _Header}, prefix=prefix, fields=_Header.__struct_fields__
        )
        types = {"JobEvent": _Body, "Run": OutcomeRun} | {t.__name__: t for t in (Opened, Judged, Expired)}
        self._bodies = Codec[_Body](
            definition,
            types | {"Failure": Failure, "Fault": Fault},
            fields=_Body.__struct_fields__,
            # Records of a job often fail for the same reason.
            repeated=("faults",),
        )
        self._header_from = lru_cache(maxsize=4096)(self._decode_header)

    def encode(self, event: JobEvent) -> bytes:
        """Encode an event. Raises `ValueError` for one that the schema cannot hold."""
        header = event.header
        head = _Header(*header.key, header.total, header.created_at, header.mode, header.type)
        return self._headers.encode(head) + self._bodies.encode(_Body(event.at, event.fact))

    def decode(self, data: bytes, *, start: int = 0) -> JobEvent:
        """Decode the event whose bytes begin at `start`. Raises `MalformedEventError`, and nothing else."""
        found = _HEADER.match(data, start)
        if found is None:
            raise _header_error(data, start)
        header = self._header_from(found[0])
        try:
            body = self._bodies.decode(data, start=found.end())
        except AvroDecodeError as error:
            raise MalformedEventError("undecodable", error.reason) from error
        at, fact = body.at, body.fact
        if not MIN_INSTANT_US <= at <= MAX_INSTANT_US:
            raise MalformedEventError("unprocessable", "the time is out of bounds")
        if isinstance(fact, Judged):
            _validate_run(fact.run, "SF.")
        elif isinstance(fact, Opened) and fact.refused is not None:
            _validate_run(fact.refused, "F.")
        return JobEvent(header, at, fact)

    def _decode_header(self, data: bytes) -> JobHeader:
        try:
            fields = self._headers.decode(data)
        except AvroDecodeError as error:
            # The pattern matched: a number has more than 64 bits.
            raise MalformedEventError("unprocessable", error.reason) from error
        job_id = parse_job_id(fields.job_id)
        if job_id is None:
            raise MalformedEventError("unprocessable", "the job id is not a UUID")
        if not 0 < fields.total <= MAX_JOB_RECORDS:
            raise MalformedEventError("unprocessable", "the total is out of bounds")
        if not MIN_INSTANT_US <= fields.created_at <= MAX_INSTANT_US:
            raise MalformedEventError("unprocessable", "the creation time is out of bounds")
        return JobHeader(JobKey(fields.site, job_id), fields.total, fields.created_at, fields.mode, fields.type)


def _header_error(data: bytes, at: int) -> MalformedEventError:
    """Return the error for a job id of another form, or for bytes that are not a header."""
    try:
        _, at = read_varint(data, data[at], at + 1)
        length, at = read_length(data, data[at], at + 1)
        text = data[at : at + length].decode()
    except (AvroDecodeError, IndexError, UnicodeDecodeError):
        return MalformedEventError("undecodable", "the header is invalid")
    if at + length <= len(data) and parse_job_id(text) is None:
        return MalformedEventError("unprocessable", "the job id is not a UUID")
    return MalformedEventError("undecodable", "the header is invalid")


def _validate_run(run: OutcomeRun, alphabet: str) -> None:
    first, outcomes, failures = run.first, run.outcomes, run.failures
    if first < 0 or not outcomes or outcomes.strip(alphabet):
        raise MalformedEventError("unprocessable", "a run has invalid outcomes")
    index = outcomes.find(FAILED)
    for failure in failures:
        if index < 0 or failure.index != first + index:
            raise MalformedEventError("unprocessable", "failures and outcomes differ")
        if not failure.faults:
            raise MalformedEventError("unprocessable", "a failure has no fault")
        index = outcomes.find(FAILED, index + 1)
    if index >= 0:
        raise MalformedEventError("unprocessable", "failures and outcomes differ")
