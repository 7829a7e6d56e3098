"""A broker that these tests may kill and freeze; what all of them do with Kafka."""

from collections.abc import Iterator

import pytest

from sandbox.kafka import KafkaCluster


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker of our own. Who kills or freezes it brings it back."""
    with KafkaCluster(tmp_path_factory.mktemp("own-kafka")) as cluster:
        yield cluster
