"""A broker that these tests may kill and freeze."""

from collections.abc import Iterator

import pytest

from sandbox.kafka import KafkaCluster


@pytest.fixture(scope="session")
def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """A broker for these tests only. A test that kills or freezes it restores it."""
    with KafkaCluster(tmp_path_factory.mktemp("own-kafka")) as cluster:
        yield cluster
