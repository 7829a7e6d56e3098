"""The Kafka topics, as they are declared, and an example of each schema."""

from collections.abc import Mapping
from pathlib import Path

from services.chassis.kafka.dead_letters import SUFFIX
from services.chassis.kafka.topic import Cleanup
from services.portal.domain.kafka_records import TopicText, describe_retention
from services.topics import TOPICS


def describe_topics() -> Mapping[str, TopicText]:
    """Return all topics with a schema, by name."""
    return {
        topic.name: TopicText(
            name=topic.name,
            description=topic.description,
            key=" | ".join(topic.key),
            subject=f"{topic.name}-value",
            example_name=topic.schema,
            written_by=topic.written_by,
            read_by=topic.read_by,
            retention=describe_retention(topic.retention_days, is_compacted=topic.cleanup is not Cleanup.DELETE),
        )
        for topic in TOPICS
        if topic.schema is not None and not topic.name.endswith(SUFFIX)
    }


def load_examples(schemas_dir: Path) -> Mapping[str, str]:
    """Return an example of each schema, by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted((schemas_dir / "examples").glob("*.json"))}
