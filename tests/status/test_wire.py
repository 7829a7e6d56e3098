"""Values of the topic of job events: other versions of the schema, and random streams."""

import io
import json
import random
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from fastavro import schemaless_writer

from services.jobs.codec import MalformedEventError
from services.jobs.events import JobEvent, JobKey
from services.status.wire import EventCodec
from tests.jobs.encoded import SCHEMA, SCHEMAS, encode, to_avro
from tests.jobs.events import a_run, expired, judged, opened
from tests.status.fuzzing import a_stream
from tests.support.schema_versions import schemas_with_older_version, without_fields

CODEC = EventCodec(SCHEMAS)


def test_any_stream_is_read_as_the_library_reads_it() -> None:
    chance = random.Random(5)  # noqa: S311 - it has to be repeatable
    for _ in range(40):
        events, *_ = a_stream(chance, JobKey(608, str(uuid4())))
        for event in events:
            value = encode(event)
            assert encode(CODEC.decode(value)) == value


@pytest.mark.parametrize(
    "event",
    [opened(), opened(refused=a_run("F.")), judged(a_run("SF.")), expired()],
    ids=lambda event: type(event.fact),
)
def test_events_of_an_older_release_are_read(event: JobEvent, tmp_path: Path) -> None:
    """F25: had faults once not said whether to try again, nor which product is missing."""
    text = json.dumps(SCHEMA.definition)
    definition = json.loads(text, object_hook=lambda part: _older_fault(part) if part.get("name") == "Fault" else part)
    assert json.dumps(definition) != text
    newer = schemas_with_older_version("job_event", definition, tmp_path)
    older = newer.versions["job_event"][1]
    out = io.BytesIO()
    schemaless_writer(out, older.plain, to_avro(event))
    value = SCHEMA.prefix + out.getvalue()
    read = EventCodec(newer).decode(value)
    assert to_avro(read) == _without_new_fields(to_avro(event))
    for end in range(5, len(value)):
        with pytest.raises(MalformedEventError, match="undecodable"):
            EventCodec(newer).decode(value[:end])
    with pytest.raises(MalformedEventError, match="undecodable"):
        EventCodec(newer).decode(value + b"\0")


def _older_fault(fault: dict[str, Any]) -> dict[str, Any]:
    return without_fields(fault, "productId", "retryable")


def _without_new_fields(value: Any) -> Any:
    """The event as it is read where it did not say what faults say today."""
    match value:
        case {"code": _, "retryable": _}:
            return {**value, "productId": None, "retryable": False}
        case dict():
            return {name: _without_new_fields(value) for name, value in value.items()}
        case list() | tuple():
            return type(value)(map(_without_new_fields, value))
    return value
