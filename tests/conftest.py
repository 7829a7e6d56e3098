"""Servers for the whole run; they start when the first test needs them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from tests.support.servers import Servers, kafka, mongodb, select_servers

TESTS = Path(__file__).parent

# Assertions in shared helper modules report details, like those in tests.
pytest.register_assert_rewrite(
    *[f"tests.{path.name}" for path in TESTS.iterdir() if path.is_dir() and path.name not in ("support", "__pycache__")]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """First what needs a processor and no server: servers of other tests take their share until the end of the run."""
    items.sort(key=lambda item: "simulation" not in item.path.parts)


class _DirectoryScheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist has no types
    """One worker process runs a directory: its tests share servers."""

    def _split_scope(self, nodeid: str) -> str:
        first, second, *_ = nodeid.split("/")
        # The client's tests are in a directory of their own.
        return second if first == "tests" else first


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Distribute the tests of several worker processes (`make test`). xdist's own groups need an older pytest."""
    return _DirectoryScheduling(config, log)


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
            # For five minutes it would keep the files of dropped databases, and run out of them.
            client.admin.command("setParameter", minSnapshotHistoryWindowInSeconds=20)
        yield uri
