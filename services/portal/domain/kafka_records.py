"""Schemas and records of Kafka topics, as pages show them."""

from collections.abc import Sequence

from msgspec import Struct

MAX_RECORD_CHARACTERS = 200_000


class SchemaText(Struct, frozen=True, kw_only=True):
    """The latest version of a subject's schema, and the numbers of all of them."""

    subject: str
    versions: Sequence[int]
    version: int
    schema_id: int
    text: str


class RecordText(Struct, frozen=True, kw_only=True):
    """A decoded record as JSON. The id is 0 if its header names the schema by a GUID."""

    schema: str
    schema_id: int
    text: str


class TopicText(Struct, frozen=True, kw_only=True):
    """A topic, as those who read or write it need to know it."""

    name: str
    description: str
    key: str
    subject: str
    example_name: str
    written_by: Sequence[str]
    read_by: Sequence[str]
    retention: str


def describe_retention(days: int | None, *, is_compacted: bool) -> str:
    """Return how long records are kept, in words."""
    if is_compacted:
        return "the latest of each key" + (f", for {days} days" if days is not None else "")
    return "for ever" if days is None else f"{days} days"
