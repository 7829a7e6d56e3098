"""Servers for the whole run; they start when the first test needs them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from tests.support.servers import Servers, kafka, mongodb, select_servers

TESTS = Path(__file__).parent

# Assertions in shared helper modules report details, like those in tests.
pytest.register_assert_rewrite(
    *[f"tests.{path.name}" for path in TESTS.iterdir() if path.is_dir() and path.name not in ("support", "__pycache__")]
)


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several worker processes (`make test`), one process runs a directory: its tests share servers."""
    for item in items:
        # The client's tests are in a directory of their own.
        directory = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else "client"
        item.add_marker(pytest.mark.xdist_group(directory))
    # First what needs a processor and no server: servers of other tests take their share until the end of the run.
    items.sort(key=lambda item: "simulation" not in item.path.parts)


@pytest.fixture(scope="session")
def servers() -> Servers:
    """Where Kafka and MongoDB come from in this run (`TEST_SERVERS`)."""
    return select_servers()


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka for the whole run: use a unique prefix for topics and groups, and do not delete them."""
    with kafka(servers, tmp_path_factory.mktemp("kafka")) as bootstrap:
        yield bootstrap


@pytest.fixture(scope="session")
def mongodb_uri(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A MongoDB for the whole run: use a unique database name."""
    with mongodb(servers, tmp_path_factory.mktemp("mongodb")) as uri:
        # Once a minute it would delete what tests with a clock of their own have written in the past.
        client: MongoClient[dict[str, Any]] = MongoClient(uri)
        with client:
            client.admin.command("setParameter", ttlMonitorEnabled=False)
        yield uri
