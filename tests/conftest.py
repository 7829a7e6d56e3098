"""Servers for the whole run. A test that needs none starts none."""

from collections.abc import Iterator

import pytest

from tests.support.servers import Servers, chosen_servers, kafka, mongodb


@pytest.fixture(scope="session")
def servers() -> Servers:
    """Where Kafka and MongoDB come from in this run (`TEST_SERVERS`)."""
    return chosen_servers()


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka for the whole run: give topics and groups a prefix of your own, and do not delete them."""
    with kafka(servers, tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def mongodb_uri(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB for the whole run: use a database name of your own."""
    with mongodb(servers, tmp_path_factory.mktemp("mongodb")) as uri:
        yield uri
