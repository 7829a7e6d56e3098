"""The contracts: rules for every schema, so that other teams can rely on it for years."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avro.schema
import pytest

from services.chassis.avro.schemas import Schemas, released_path
from services.chassis.runtime.settings import REPOSITORY
from services.topics import BY_NAME, ERASURE_DAYS, TOPICS

DIRECTORY = REPOSITORY / "schemas"
FILES = sorted(DIRECTORY.glob("*.avsc"))
IDS: dict[str, dict[str, int]] = json.loads((DIRECTORY / "ids.json").read_text(encoding="utf-8"))

every_schema = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def definition(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every object in a schema: types and fields."""
    if isinstance(schema, dict):
        yield schema
        for value in schema.values():
            yield from nodes(value)
    elif isinstance(schema, list):
        for item in schema:
            yield from nodes(item)


def named(schema: Any) -> list[dict[str, Any]]:
    return [node for node in nodes(schema) if node.get("type") in ("record", "enum", "fixed")]


def fields(schema: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(node["name"], field) for node in named(schema) for field in node.get("fields", ())]


@every_schema
def test_apache_avro_parses_it(path: Path) -> None:
    parsed = avro.schema.parse(path.read_text(encoding="utf-8"))
    assert isinstance(parsed, avro.schema.RecordSchema)
    assert parsed.fullname.startswith("tillstream.")


def test_fastavro_parses_them_all() -> None:
    assert set(Schemas.load(DIRECTORY)) == {path.stem for path in FILES}


@every_schema
def test_the_namespace_is_tillstream_and_stands_once(path: Path) -> None:
    schema = definition(path)
    assert schema["namespace"] == "tillstream"
    assert [node for node in named(schema) if "namespace" in node] == [schema]


@every_schema
def test_the_file_is_called_as_its_record(path: Path) -> None:
    assert definition(path)["name"] == "".join(part.capitalize() for part in path.stem.split("_"))


@every_schema
def test_every_record_enum_and_field_has_a_sentence(path: Path) -> None:
    schema = definition(path)
    lacking = [f"{owner}.{field['name']}" for owner, field in fields(schema) if not field.get("doc", "").endswith(".")]
    lacking += [node["name"] for node in named(schema) if not node.get("doc", "").endswith(".")]
    assert lacking == []


@every_schema
def test_what_is_optional_is_null_first_and_null_by_default(path: Path) -> None:
    unions = [field for _, field in fields(definition(path)) if isinstance(field["type"], list)]
    optional = [field for field in unions if "null" in field["type"]]
    assert [f["name"] for f in optional if f["type"][0] != "null" or len(f["type"]) != 2 or f.get("default", 0)] == []
    assert [f["name"] for f in optional if "default" not in f] == []


@every_schema
def test_names_are_spelt_as_on_the_wire(path: Path) -> None:
    names = [field["name"] for _, field in fields(definition(path))]
    assert [name for name in names if not re.fullmatch(r"[a-z][a-zA-Z0-9]*", name)] == []


@every_schema
def test_money_is_a_decimal_of_18_6_and_time_is_in_microseconds(path: Path) -> None:
    allowed = [
        {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 6},
        {"type": "long", "logicalType": "timestamp-micros"},
    ]
    if path.stem == "ledger_movement":
        # Sums of many sales, of a day.
        allowed = [
            {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 6},
            {"type": "int", "logicalType": "date"},
            allowed[1],
        ]
    logical = [node for node in nodes(definition(path)) if "logicalType" in node]
    for node in logical:
        assert node in allowed


@every_schema
def test_no_floats_and_no_items_without_bytes(path: Path) -> None:
    """Floats lose money; with items of zero bytes, five bytes could encode an array of a billion items."""
    schema = definition(path)
    types = [node["type"] for node in nodes(schema) if isinstance(node.get("type"), str)]
    assert not {"float", "double"} & set(types)
    empty = {node["name"] for node in named(schema) if node.get("fields") == []} | {"null"}
    items = [node["items"] for node in nodes(schema) if node.get("type") == "array"]
    names = {item["name"] if isinstance(item, dict) and "name" in item else str(item) for item in items}
    assert not names & empty


def test_a_type_that_stands_in_several_schemas_is_the_same_in_all() -> None:
    seen: dict[str, Any] = {}
    for path in FILES:
        for node in named(definition(path)):
            assert seen.setdefault(node["name"], node) == node, node["name"]


def test_ids_are_complete_and_each_is_given_once() -> None:
    assert IDS.keys() == {path.stem for path in FILES}
    given = [schema_id for versions in IDS.values() for schema_id in versions.values()]
    assert len(given) == len(set(given))
    assert all(0 < schema_id < 2**31 for schema_id in given)


@pytest.mark.parametrize("name", IDS)
def test_versions_count_from_one_and_ids_grow_with_them(name: str) -> None:
    versions = {int(version): schema_id for version, schema_id in IDS[name].items()}
    assert list(versions) == list(range(1, len(versions) + 1))
    assert list(versions.values()) == sorted(versions.values())


def test_topics_name_schemas_that_are_there() -> None:
    named_by_topics = {topic.schema for topic in TOPICS if topic.schema is not None}
    assert named_by_topics == {path.stem for path in FILES}


def test_each_topic_is_listed_once() -> None:
    assert len(BY_NAME) == len(TOPICS)


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_a_topic_says_what_it_is(topic: Any) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z0-9]+)+", topic.name)
    assert topic.description.endswith(".")
    assert topic.key
    assert topic.written_by
    assert topic.read_by


@pytest.mark.parametrize("topic", [t for t in TOPICS if t.schema is None], ids=lambda topic: topic.name)
def test_only_dead_letters_have_no_schema_and_they_have_room_for_the_reason(topic: Any) -> None:
    origin = BY_NAME[topic.name.removesuffix(".dlq")]
    assert topic.max_message_bytes > origin.max_message_bytes
    assert topic.retention_days == (28 if names_users(origin) else 30)


def names_users(topic: Any) -> bool:
    """Whether records of the topic have a user's id: jobs' events have those of the records."""
    return topic.schema is not None and ("userId" in field_names(topic.schema) or topic.schema == "job_event")


def field_names(schema: str) -> set[str]:
    return {field["name"] for field in json.loads((DIRECTORY / f"{schema}.avsc").read_text(encoding="utf-8"))["fields"]}


def test_no_record_that_names_a_user_lives_longer_than_an_erasure_takes() -> None:
    """Kafka deletes whole segments: a record lives until the last one of its segment expires."""
    origins = [BY_NAME[topic.name.removesuffix(".dlq")] for topic in TOPICS]
    personal = [topic for topic, origin in zip(TOPICS, origins, strict=True) if names_users(origin)]
    assert {topic.name.removesuffix(".dlq") for topic in personal} == {
        "orders.submitted.v1",
        "returns.submitted.v1",
        "orders.validated.v1",
        "returns.validated.v1",
        "jobs.events.v1",
    }
    default_segment_ms, sweep_ms = 7 * 86_400_000, 6 * 60_000
    for topic in personal:
        config = topic.config
        lives_ms = int(config["retention.ms"]) + int(config.get("segment.ms", default_segment_ms)) + sweep_ms
        assert lives_ms <= ERASURE_DAYS * 86_400_000, topic.name


@every_schema
def test_its_first_version_is_released_and_stays(path: Path) -> None:
    """Otherwise a breaking change would pass."""
    assert released_path(DIRECTORY, path.stem, 1).is_file()
