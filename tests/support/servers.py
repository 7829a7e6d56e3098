"""Kafka and MongoDB for tests: embedded, in containers, or somebody else's.

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
    """Where tests take their servers from."""

    EMBEDDED = "embedded"
    CONTAINERS = "containers"
    EXTERNAL = "external"


def chosen_servers() -> Servers:
    """What `TEST_SERVERS` says, or what this machine can do."""
    named = os.environ.get("TEST_SERVERS")
    if named:
        return Servers(named)
    return Servers.CONTAINERS if containers.are_possible() else Servers.EMBEDDED


@contextmanager
def kafka(servers: Servers, directory: Path) -> Iterator[str]:
    """Bootstrap addresses of a Kafka that is there as long as the context is."""
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
    """The URI of a MongoDB replica set that is there as long as the context is."""
    if servers is Servers.EXTERNAL:
        yield os.environ["MONGODB_URI"]
    elif servers is Servers.CONTAINERS:
        with containers.mongodb() as uri:
            yield uri
    else:
        with ReplicaSet(directory) as replica_set:
            yield replica_set.uri
