"""Draws which service writes and reads which topic."""

from collections.abc import Iterable, Iterator

from services.chassis.kafka.topic import Topic


def render_mermaid(topics: Iterable[Topic]) -> str:
    """Return a Mermaid flowchart: programs are rounded boxes, topics are cylinders."""
    listed = list(topics)
    programs = sorted({name for topic in listed for name in (*topic.written_by, *topic.read_by)})
    lines = ["flowchart LR", *(f'  {_node_id(name)}(["{name}"])' for name in programs)]
    for topic in listed:
        lines.append(f'  {_node_id(topic.name)}[("{topic.name}")]')
        lines += _arrows(topic)
    return "\n".join(lines) + "\n"


def _arrows(topic: Topic) -> Iterator[str]:
    for writer in topic.written_by:
        yield f"  {_node_id(writer)} --> {_node_id(topic.name)}"
    for reader in topic.read_by:
        yield f"  {_node_id(topic.name)} --> {_node_id(reader)}"


def _node_id(name: str) -> str:
    return "".join(character if character.isalnum() else "_" for character in name)
