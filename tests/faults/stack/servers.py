"""Kafka and MongoDB whose clients and members find them through proxies."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.kafka import KafkaCluster
from sandbox.kafka_settings import Node
from sandbox.mongo import ReplicaSet
from tests.faults.wire.proxy import Proxy

# A follower that does not keep up leaves the in-sync replicas after this time; by default after half a minute.
MAX_REPLICA_LAG_MS = 5_000


@dataclass(frozen=True, slots=True)
class BrokerWires:
    """The proxies of one broker: before the listener of the services and before that of the other brokers."""

    clients: Proxy
    brokers: Proxy


class WiredKafka(KafkaCluster):
    """A cluster whose services and brokers connect through proxies. `bootstrap_servers` are direct, for the checker."""

    def __init__(self, directory: Path, *, nodes: int, ports: Iterator[int]) -> None:
        """Take six ports for each broker."""
        super().__init__(directory, nodes=nodes, ports=[next(ports) for _ in range(2 * nodes)])
        for broker in self.brokers:
            # A broker whose disk has failed must not be taken for one that cannot use the AOT cache.
            broker.program = broker._program(())
        self.wires = [
            BrokerWires(
                Proxy(next(ports), next(ports), name=f"kafka-{number}"),
                Proxy(next(ports), next(ports), name=f"kafka-{number} from brokers"),
            )
            for number in range(1, nodes + 1)
        ]

    @property
    def wired_bootstrap_servers(self) -> str:
        """The proxies' addresses, for services."""
        return ",".join(f"127.0.0.1:{wires.clients.port}" for wires in self.wires)

    def settings_of(self, node: Node) -> Mapping[str, str]:
        """Return the listeners, direct and behind proxies."""
        wires = self.wires[node.id - 1]
        listening = {"PLAINTEXT": node.port, "WIRE": wires.clients.target, "BROKERS": wires.brokers.target}
        advertised = {"PLAINTEXT": node.port, "WIRE": wires.clients.port, "BROKERS": wires.brokers.port}
        return {
            "listeners": _listeners({**listening, "CONTROLLER": node.controller_port}),
            "advertised.listeners": _listeners(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in (*listening, "CONTROLLER")),
            "inter.broker.listener.name": "BROKERS",
            "replica.lag.time.max.ms": str(MAX_REPLICA_LAG_MS),
            "leader.imbalance.check.interval.seconds": "10",
        }


class WiredMongo(ReplicaSet):
    """A replica set whose members are known by their proxies' addresses, to clients and to each other."""

    def __init__(self, directory: Path, *, nodes: int, ports: Iterator[int]) -> None:
        """Take two ports for each member."""
        self.wires = [Proxy(next(ports), next(ports), name=f"mongod-{number}") for number in range(1, nodes + 1)]
        super().__init__(
            directory,
            nodes=nodes,
            ports=[wire.target for wire in self.wires],
            advertised_ports=[wire.port for wire in self.wires],
        )


def _listeners(ports: Mapping[str, Any]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
