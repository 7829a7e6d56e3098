"""A real Apache Kafka on this machine: one broker, or three for trying faults.

    with KafkaCluster(Path("/tmp/somewhere")) as kafka:
        ...  # kafka.bootstrap_servers

What is in the directory is kept; starting there again finds it.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.child import Child, Program
from sandbox.ensemble import SECONDS_TO_START, Ensemble
from sandbox.kafka_kit import CLUSTER_ID, KafkaKit, kafka_kit
from sandbox.kafka_settings import Node, meta_properties, server_properties
from sandbox.ports import free_ports
from sandbox.probes import known_brokers
from sandbox.waiting import until

# Compiles less: a broker that lives for seconds or minutes is busy starting. Benchmarks want all of it.
START_QUICKLY = ("-XX:TieredStopAtLevel=1",)


class Broker(Child):
    """One Kafka node, broker and controller in one."""

    def __init__(self, node: Node, *, kit: KafkaKit, directory: Path, java_options: Sequence[str]) -> None:
        self.node = node
        self.kit = kit
        self.directory = directory
        self._java_options = tuple(java_options)
        super().__init__(self._program(kit.preloading()))

    @property
    def address(self) -> str:
        """Where clients reach it."""
        return f"127.0.0.1:{self.node.port}"

    @property
    def log_directory(self) -> Path:
        """Where it keeps its records."""
        return self.directory / "log"

    def prepare(self, properties: str) -> None:
        """Write its settings, and format its log if it has none."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "server.properties").write_text(properties, encoding="utf-8")
        meta = self.log_directory / "meta.properties"
        if not meta.is_file():
            shutil.copyfile(self.kit.checkpoint, self.log_directory / "bootstrap.checkpoint")
            meta.write_text(meta_properties(self.node, cluster_id=CLUSTER_ID), encoding="utf-8")

    def settle(self, *, brokers: int = 1) -> bool:
        """Whether it answers clients and knows that many brokers. Raises `NeverReady` if it ended."""
        if not self.is_running and self._uses_preloaded_classes():
            # Classes preloaded for another machine must not be what keeps Kafka from starting.
            self.kit.preloaded.unlink(missing_ok=True)
            self.program = self._program(())
            self.launch()
        self.must_run()
        return known_brokers(self.node.port) >= brokers

    def start(self) -> None:
        """Start it (again) and wait until it answers."""
        self.launch()
        until(self.settle, deadline_s=SECONDS_TO_START, what=self.program.name, evidence=self.tail)

    def _program(self, preloading: Sequence[str]) -> Program:
        settings = str(self.directory / "server.properties")
        return Program(
            name=f"kafka-{self.node.id}",
            command=self.kit.command("kafka.Kafka", settings, options=[*self._java_options, *preloading]),
            log=self.directory / "kafka.log",
        )

    def _uses_preloaded_classes(self) -> bool:
        return any(option.startswith("-XX:AOTCache=") for option in self.program.command)


class KafkaCluster(Ensemble):
    """One or three brokers."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 1,
        ports: Sequence[int] = (),
        settings: Mapping[str, str] | None = None,
        java_options: Sequence[str] = ("-Xmx512m", *START_QUICKLY),
        kit: KafkaKit | None = None,
    ) -> None:
        """`ports`: the clients' ports, then the controllers'; free ones are chosen when there are none."""
        chosen = list(ports) or free_ports(2 * nodes)
        self._nodes = [
            Node(id=number + 1, port=chosen[number], controller_port=chosen[nodes + number]) for number in range(nodes)
        ]
        self._settings = dict(settings or {})
        found = kit or kafka_kit()
        self.brokers = [
            Broker(node, kit=found, directory=directory / f"node-{node.id}", java_options=java_options)
            for node in self._nodes
        ]
        super().__init__("Kafka", self.brokers)

    @property
    def bootstrap_servers(self) -> str:
        """What clients are given."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def ports(self) -> list[int]:
        """The ports it uses: give them to the next cluster in this directory to find it at the same address."""
        return [node.port for node in self._nodes] + [node.controller_port for node in self._nodes]

    def launch(self) -> None:
        """Start every broker's process."""
        for broker in self.brokers:
            log = broker.log_directory
            broker.prepare(server_properties(broker.node, nodes=self._nodes, log=log, changes=self._settings))
            broker.launch()

    def settle(self) -> bool:
        """Whether every broker answers and knows the others. Raises `NeverReady` if one ended."""
        return all(broker.settle(brokers=len(self.brokers)) for broker in self.brokers)
