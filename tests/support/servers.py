"""Kafka and MongoDB for tests: embedded, in containers, or external.

`TEST_SERVERS=embedded|containers|external`; without it containers if Docker answers and has the images, else embedded.
External ones are named by `KAFKA_BOOTSTRAP_SERVERS` and `MONGODB_URI`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from sandbox.kafka import KafkaCluster
from sandbox.mongo import ReplicaSet
from tests.support import containers


class Servers(StrEnum):
    """Where the tests' servers come from."""

    EMBEDDED = "embedded"
    CONTAINERS = "containers"
    EXTERNAL = "external"


def select_servers() -> Servers:
    """Return the choice of `TEST_SERVERS`, else containers if Docker is usable, else embedded."""
    choice = os.environ.get("TEST_SERVERS")
    if choice:
        return Servers(choice)
    return Servers.CONTAINERS if containers.are_available() else Servers.EMBEDDED


@contextmanager
def kafka(servers: Servers, directory: Path) -> Iterator[str]:
    """Provide a Kafka; yield its bootstrap servers."""
    if servers is Servers.EXTERNAL:
        yield os.environ["KAFKA_BOOTSTRAP_SERVERS"]
    elif servers is Servers.CONTAINERS:
        with containers.kafka() as bootstrap:
            yield bootstrap
    else:
        with KafkaCluster(directory) as cluster:
            yield cluster.bootstrap_servers


@contextmanager
def mongodb(servers: Servers, directory: Path) -> Iterator[str]:
    """Provide a MongoDB replica set; yield its URI."""
    if servers is Servers.EXTERNAL:
        yield os.environ["MONGODB_URI"]
    elif servers is Servers.CONTAINERS:
        with containers.mongodb() as uri:
            yield uri
    else:
        with ReplicaSet(directory) as replica_set:
            yield replica_set.uri
