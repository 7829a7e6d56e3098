"""Values of the topic of job events."""

from services.chassis.avro.records import transcode
from services.chassis.avro.schemas import Schemas
from services.chassis.avro.wire_format import LENGTH, UnknownWireFormatError, unframe
from services.jobs.codec import JobEventCodec, MalformedEventError
from services.jobs.events import Expired, JobEvent, JobHeader

SCHEMA = "job_event"


class EventCodec:
    """Decodes the events that status consumes, and encodes those that it publishes."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas
        self._prefix = schemas[SCHEMA].prefix
        self._codec = JobEventCodec(schemas[SCHEMA].definition, prefix=self._prefix)

    def decode(self, value: bytes | None) -> JobEvent:
        """The event, whichever version of the schema it was written with. Raises `MalformedEventError`."""
        if value is None or not value.startswith(self._prefix):
            value = self._to_current_version(value)
        return self._codec.decode(value, start=len(self._prefix))

    def encode_expired(self, header: JobHeader, *, at_us: int) -> tuple[bytes, bytes]:
        """Key and value of the event that expires a job."""
        # Neither part of the key can contain the separator.
        return f"{header.site}|{header.job_id}".encode(), self._codec.encode(JobEvent(header, at_us, Expired()))

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
