"""The Mermaid graph of the topics."""

from services.topics import TOPICS
from tools.topic_graph import render_mermaid


def test_the_picture_has_every_topic_with_its_writers_and_readers() -> None:
    graph = render_mermaid(TOPICS)
    assert graph.startswith("flowchart LR\n")
    for topic in TOPICS:
        assert f'[("{topic.name}")]' in graph
    assert "  ingest --> orders_submitted_v1\n" in graph
    assert "  orders_submitted_v1 --> validator\n" in graph
