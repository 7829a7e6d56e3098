"""A real Apache Kafka on this machine: one broker, or three for fault tests.

    with KafkaCluster(Path("/tmp/somewhere")) as kafka:
        ...  # kafka.bootstrap_servers

The directory keeps the data: a cluster that is started there again has the same records.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandbox.kafka_distribution import CLUSTER_ID, KafkaDistribution, kafka_distribution
from sandbox.kafka_settings import Node, meta_properties, server_properties
from sandbox.polling import wait_until
from sandbox.ports import free_ports
from sandbox.probes import broker_count
from sandbox.process import ManagedProcess, Program
from sandbox.process_group import START_TIMEOUT_S, ProcessGroup

# Less JIT compilation: a broker that lives for seconds or minutes spends its time starting. Benchmarks omit this.
FAST_START_OPTIONS = ("-XX:TieredStopAtLevel=1",)


class Broker(ManagedProcess):
    """One Kafka node: broker and controller in one process."""

    def __init__(
        self, node: Node, *, distribution: KafkaDistribution, directory: Path, java_options: Sequence[str]
    ) -> None:
        self.node = node
        self.distribution = distribution
        self.directory = directory
        self._java_options = tuple(java_options)
        super().__init__(self._program(distribution.aot_options()))

    @property
    def address(self) -> str:
        """The address for clients."""
        return f"127.0.0.1:{self.node.port}"

    @property
    def log_directory(self) -> Path:
        """The directory of its records."""
        return self.directory / "log"

    def prepare(self, properties: str) -> None:
        """Write its settings, and format its log directory if it is empty."""
        self.log_directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "server.properties").write_text(properties, encoding="utf-8")
        meta = self.log_directory / "meta.properties"
        if not meta.is_file():
            shutil.copyfile(self.distribution.bootstrap_checkpoint, self.log_directory / "bootstrap.checkpoint")
            meta.write_text(meta_properties(self.node, cluster_id=CLUSTER_ID), encoding="utf-8")

    def is_ready(self, *, brokers: int = 1) -> bool:
        """Whether it answers clients and knows `brokers` brokers. Raises `NotReadyError` if it has exited."""
        if not self.is_running and self._uses_aot_cache():
            # An AOT cache from another machine must not prevent Kafka from starting: retry without it.
            self.distribution.aot_cache.unlink(missing_ok=True)
            self.program = self._program(())
            self.launch()
        self.assert_running()
        return broker_count(self.node.port) >= brokers

    def start(self) -> None:
        """Start (or restart) it and wait until it answers."""
        self.launch()
        wait_until(self.is_ready, deadline_s=START_TIMEOUT_S, description=self.program.name, diagnostics=self.tail)

    def _program(self, aot_options: Sequence[str]) -> Program:
        settings = str(self.directory / "server.properties")
        return Program(
            name=f"kafka-{self.node.id}",
            command=self.distribution.command("kafka.Kafka", settings, options=[*self._java_options, *aot_options]),
            log=self.directory / "kafka.log",
        )

    def _uses_aot_cache(self) -> bool:
        return any(option.startswith("-XX:AOTCache=") for option in self.program.command)


class KafkaCluster(ProcessGroup):
    """One or three brokers."""

    def __init__(
        self,
        directory: Path,
        *,
        nodes: int = 1,
        ports: Sequence[int] = (),
        settings: Mapping[str, str] | None = None,
        java_options: Sequence[str] = ("-Xmx512m", *FAST_START_OPTIONS),
        distribution: KafkaDistribution | None = None,
    ) -> None:
        """`ports`: the client ports, then the controller ports; free ports if empty."""
        chosen = list(ports) or free_ports(2 * nodes)
        self._nodes = [
            Node(id=number + 1, port=chosen[number], controller_port=chosen[nodes + number]) for number in range(nodes)
        ]
        self._settings = dict(settings or {})
        found = distribution or kafka_distribution()
        self.brokers = [
            Broker(node, distribution=found, directory=directory / f"node-{node.id}", java_options=java_options)
            for node in self._nodes
        ]
        super().__init__("Kafka", self.brokers)

    @property
    def bootstrap_servers(self) -> str:
        """The addresses for clients."""
        return ",".join(broker.address for broker in self.brokers)

    @property
    def ports(self) -> list[int]:
        """The ports in use: pass them to the next cluster in this directory to keep the addresses."""
        return [node.port for node in self._nodes] + [node.controller_port for node in self._nodes]

    def settings_of(self, node: Node) -> Mapping[str, str]:
        """Settings of a broker besides those of every sandbox; fault tests override it."""
        del node
        return self._settings

    def launch(self) -> None:
        """Start all brokers and return at once."""
        for broker in self.brokers:
            log = broker.log_directory
            overrides = self.settings_of(broker.node)
            broker.prepare(server_properties(broker.node, nodes=self._nodes, log=log, overrides=overrides))
            broker.launch()

    def is_ready(self) -> bool:
        """Whether each broker answers and knows the others. Raises `NotReadyError` if one has exited."""
        return all(broker.is_ready(brokers=len(self.brokers)) for broker in self.brokers)
