"""Servers for the whole run. A test that needs none starts none."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.servers import Servers, chosen_servers, kafka, mongodb

TESTS = Path(__file__).parent

# What several files of a directory share says as much when it fails as a test does.
pytest.register_assert_rewrite(
    *[f"tests.{one.name}" for one in TESTS.iterdir() if one.is_dir() and one.name not in ("support", "__pycache__")]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the work (`make test`), one process runs a directory: its tests share servers."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group(item.path.relative_to(TESTS).parts[0]))


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
