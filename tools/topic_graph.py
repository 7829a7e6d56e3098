"""Who writes and who reads which topic, as a picture."""

from collections.abc import Iterable, Iterator

from services.chassis.kafka.topic import Topic


def mermaid(topics: Iterable[Topic]) -> str:
    """A flowchart in Mermaid's language: programs are round, topics are drums."""
    listed = list(topics)
    people = sorted({name for topic in listed for name in (*topic.written_by, *topic.read_by)})
    lines = ["flowchart LR", *(f'  {_id(name)}(["{name}"])' for name in people)]
    for topic in listed:
        lines.append(f'  {_id(topic.name)}[("{topic.name}")]')
        lines += _arrows(topic)
    return "\n".join(lines) + "\n"


def _arrows(topic: Topic) -> Iterator[str]:
    for writer in topic.written_by:
        yield f"  {_id(writer)} --> {_id(topic.name)}"
    for reader in topic.read_by:
        yield f"  {_id(topic.name)} --> {_id(reader)}"


def _id(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)
