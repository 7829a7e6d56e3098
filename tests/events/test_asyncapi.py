"""The AsyncAPI document says what the list of topics and the schemas say."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from services.chassis.avro.schemas import Schemas
from services.chassis.kafka import dead_letters
from services.chassis.kafka.topic import Topic
from services.chassis.runtime.settings import REPOSITORY
from services.topics import TOPICS

DIRECTORY = REPOSITORY / "schemas"
DOCUMENT: dict[str, Any] = yaml.safe_load((DIRECTORY / "asyncapi.yaml").read_text(encoding="utf-8"))
SERVICES = {path.name for path in (REPOSITORY / "services").iterdir() if (path / "__main__.py").is_file()}
CHANNELS: dict[str, dict[str, Any]] = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}

every_topic = pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)


def resolved(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for item in node:
            yield from references(item)


def message(topic: Topic) -> dict[str, Any]:
    (named,) = CHANNELS[topic.name]["messages"].values()
    found: dict[str, Any] = resolved(named["$ref"])
    return found


def test_it_is_version_3_and_says_what_it_is() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert DOCUMENT["info"]["title"]
    assert DOCUMENT["info"]["version"]
    assert set(DOCUMENT) <= {
        "asyncapi",
        "id",
        "info",
        "servers",
        "defaultContentType",
        "channels",
        "operations",
        "components",
    }


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        if reference.startswith("#"):
            assert resolved(reference)
        else:
            assert (DIRECTORY / reference).is_file(), reference


def test_it_has_every_topic_and_no_other() -> None:
    assert set(CHANNELS) == {topic.name for topic in TOPICS}
    assert len(DOCUMENT["channels"]) == len(TOPICS)


@every_topic
def test_a_channel_is_described_and_configured_as_the_topic_is(topic: Topic) -> None:
    channel = CHANNELS[topic.name]
    assert channel["description"] == topic.description
    kafka = channel["bindings"]["kafka"]
    assert kafka["topic"] == topic.name
    configured = kafka["topicConfiguration"]
    assert ",".join(configured["cleanup.policy"]) == str(topic.cleanup)
    assert {name: str(configured[name]) for name in ("retention.ms", "max.message.bytes")} == {
        name: topic.config[name] for name in ("retention.ms", "max.message.bytes")
    }


@every_topic
def test_a_message_has_the_topics_schema_and_key(topic: Topic) -> None:
    described = message(topic)
    if topic.schema is None:
        assert "payload" not in described
        return
    assert described["payload"]["schema"]["$ref"] == f"./{topic.schema}.avsc"
    parts = described["bindings"]["kafka"]["key"]["description"].split("|")
    same = [one for one in TOPICS if one.schema is not None and message(one) is described]
    assert tuple(parts) in {one.key for one in same}


@every_topic
def test_operations_are_what_our_services_do(topic: Topic) -> None:
    actions = {
        operation["action"]
        for operation in DOCUMENT["operations"].values()
        if resolved(operation["channel"]["$ref"]) is CHANNELS[topic.name]
    }
    expected = {"receive"} if SERVICES & set(topic.read_by) else set()
    assert actions == expected | ({"send"} if SERVICES & set(topic.written_by) else set())


def test_dead_letters_have_the_headers_that_are_written() -> None:
    described = DOCUMENT["components"]["schemas"]["DeadLetterHeaders"]
    names = {
        value
        for name, value in vars(dead_letters).items()
        if name.isupper() and isinstance(value, str) and value.startswith(dead_letters.PREFIX) and name != "PREFIX"
    }
    assert set(described["properties"]) == names
    assert set(described["required"]) == names - {dead_letters.TRUNCATED}


def test_schemas_that_are_referred_to_are_all_schemas() -> None:
    named = {reference[2:-5] for reference in references(DOCUMENT) if reference.endswith(".avsc")}
    assert named == set(Schemas.load(DIRECTORY))
