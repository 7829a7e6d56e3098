"""Values of the topic of job events, and of the topic of finished jobs."""

from hashlib import sha1

from msgspec import Struct

from services.avro.codec import Codec
from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import LENGTH, UnknownWireFormatError, unframe
from services.jobs.codec import JobEventCodec, MalformedEventError
from services.jobs.events import Expired, JobEvent, JobHeader, JobKey
from services.status.domain.job import Job

SCHEMA = "job_event"
FINISHED_SCHEMA = "job_finished"
_NAMESPACE = bytes.fromhex("5a0d3b1e7c9f5e2a8b46c1d07e93f25b")
_VARIANTS = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


class EventCodec:
    """Decodes the events that status consumes, and encodes those that it publishes."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._prefix = schemas[SCHEMA].prefix
        self._start = len(self._prefix)
        self._codec = JobEventCodec(schemas[SCHEMA].definition, prefix=self._prefix)

    def decode(self, value: bytes | None) -> JobEvent:
        """The event, whichever version of the schema it was written with. Raises `MalformedEventError`."""
        if value is None or not value.startswith(self._prefix):
            value = self._to_current_version(value)
        return self._codec.decode(value, start=self._start)

    def encode_expired(self, header: JobHeader, *, at_us: int) -> tuple[bytes, bytes]:
        """Key and value of the event that expires a job."""
        return _record_key(header.key), self._codec.encode(JobEvent(header, at_us, Expired()))

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


class _JobFinished(Struct, gc=False):
    """The fields of the schema."""

    event_id: str
    site: int
    job_id: str
    type: str
    mode: str
    state: str
    total: int
    succeeded: int
    failed: int
    unprocessed: int
    created_at: int
    finished_at: int


class FinishedCodec:
    """Encodes that a job has ended."""

    def __init__(self, schemas: Schemas) -> None:
        schema = schemas[FINISHED_SCHEMA]
        self._codec = Codec[_JobFinished](schema.definition, {"JobFinished": _JobFinished}, prefix=schema.prefix)

    def encode(self, job: Job) -> tuple[bytes, bytes]:
        """Key and value of the event. The same job gives the same event."""
        header, tally, key = job.profile.header, job.tally, _record_key(job.key)
        # Positional, in the schema's order: names would take a third of the time.
        return key, self._codec.encode(
            _JobFinished(
                _derive_id(key),
                *header.key,
                header.type,
                header.mode,
                job.state.value,
                header.total,
                tally.succeeded,
                tally.failed,
                tally.unprocessed,
                header.created_at,
                job.last_us,
            )
        )


def _record_key(key: JobKey) -> bytes:
    # Neither part can contain the separator.
    return f"{key.site}|{key.job_id}".encode()


def _derive_id(name: bytes) -> str:
    """Return the UUID, version 5, of a name; `uuid.uuid5` is five times slower."""
    text = sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:32]}"
