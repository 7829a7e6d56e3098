"""Under which names a schema registry keeps the schemas of topics, and how they may change."""

from services.chassis.avro.compatibility import CompatibilityLevel
from services.topics import CATALOGUE_OWNERS, OPERATOR, OUTSIDE, TOPICS

# One subject for each topic's values, as Confluent's TopicNameStrategy has it.
SCHEMA_OF = {f"{topic.name}-value": topic.schema for topic in TOPICS if topic.schema is not None}
SUBJECTS_OF = {
    schema: tuple(subject for subject, its in SCHEMA_OF.items() if its == schema) for schema in SCHEMA_OF.values()
}


def level_of(schema: str) -> CompatibilityLevel:
    """How the versions of a schema must agree.

    What only others write, only we must go on reading. Everything else is read by teams whom nobody can update at
    once, orders and returns among it: they are written by others and, once validated, by us.
    """
    writers = {writer for topic in TOPICS if topic.schema == schema for writer in topic.written_by}
    is_input = writers <= {OUTSIDE, CATALOGUE_OWNERS, OPERATOR}
    return CompatibilityLevel.BACKWARD_TRANSITIVE if is_input else CompatibilityLevel.FULL_TRANSITIVE
