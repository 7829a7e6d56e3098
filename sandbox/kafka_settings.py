"""Broker settings: Kafka's defaults, except where a sandbox or test needs a faster or a stricter value."""

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_MESSAGE_BYTES = 10 * 1024 * 1024  # topics accept messages of 8 MiB, dead-letter topics of 9 MiB

COMMON_SETTINGS = {
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    "message.max.bytes": str(MAX_MESSAGE_BYTES),
    "replica.fetch.max.bytes": str(MAX_MESSAGE_BYTES),
    # With the default of 50 partitions the first consumer group waits for half a minute.
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "controller.quorum.election.timeout.ms": "500",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.segment.delete.delay.ms": "0",
    "num.network.threads": "2",
    "num.io.threads": "4",
}
SINGLE_NODE_SETTINGS = {
    "broker.heartbeat.interval.ms": "200",
    "broker.session.timeout.ms": "1000",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
}
THREE_NODE_SETTINGS = {
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """The id and the ports of one broker."""

    id: int
    port: int
    controller_port: int

    @property
    def voter(self) -> str:
        """Its entry in `controller.quorum.voters`."""
        return f"{self.id}@127.0.0.1:{self.controller_port}"


def server_properties(node: Node, *, nodes: Sequence[Node], log: Path, overrides: Mapping[str, str]) -> str:
    """Return the text of `server.properties` for one broker of a cluster."""
    settings = {
        **COMMON_SETTINGS,
        **(SINGLE_NODE_SETTINGS if len(nodes) == 1 else THREE_NODE_SETTINGS),
        "node.id": str(node.id),
        "controller.quorum.voters": ",".join(each.voter for each in nodes),
        "listeners": f"PLAINTEXT://127.0.0.1:{node.port},CONTROLLER://127.0.0.1:{node.controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{node.port}",
        "log.dirs": str(log),
        **overrides,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())


def meta_properties(node: Node, *, cluster_id: str) -> str:
    """Return the text of `meta.properties`, the file that marks a log directory as formatted."""
    directory_id = urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")
    return f"version=1\ncluster.id={cluster_id}\nnode.id={node.id}\ndirectory.id={directory_id}\n"
