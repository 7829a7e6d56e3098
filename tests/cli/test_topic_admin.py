"""The options of created topics."""

from services.cli import topic_admin
from services.cli.settings import CliSettings
from services.topics import TOPICS


def test_topics_are_created_as_they_are_planned_and_as_safe_as_is_said() -> None:
    settings = CliSettings(topic_partitions=5, topic_replication_factor=3, topic_min_insync_replicas=2)
    for topic in TOPICS:
        new_topic = topic_admin._to_new_topic(topic, settings)
        assert (new_topic.name, new_topic.replication_factor) == (topic.name, 3)
        assert new_topic.num_partitions == (topic.partitions or 5)
        assert new_topic.topic_configs == {**topic.config, "min.insync.replicas": "2"}
