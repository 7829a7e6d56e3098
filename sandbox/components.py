"""The components of a sandbox: how each is started and observed, where it listens, in which order they stop."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import paths
from sandbox.console import Console
from sandbox.gateway import Gateway
from sandbox.kafka import KafkaCluster
from sandbox.kafka_distribution import kafka_distribution
from sandbox.layout import Layout
from sandbox.mongo import ReplicaSet
from sandbox.probes import http_get
from sandbox.process import ManagedProcess, Program
from sandbox.services import SERVICES, Environment, Service
from sandbox.state import State

SERVICE_NAMES = tuple(service.name for service in SERVICES)
SERVERS = ("kafka", "mongodb")
# The gateway first, so that no new requests arrive; the servers last, because draining services need them.
STOP_ORDER: Sequence[Sequence[str]] = (("gateway",), SERVICE_NAMES, SERVERS)


@dataclass(slots=True, kw_only=True)
class Component:
    """One process of the sandbox.

    `is_ready` is polled until it returns True; it may take steps towards readiness, and raises `NotReadyError` when the
    process has exited.
    """

    name: str
    process: ManagedProcess
    launch: Callable[[], None]
    is_ready: Callable[[], bool]
    addresses: Mapping[str, str]
    state: State = State.STOPPED
    # The body of the last readiness response.
    last_error: str = ""

    def status_row(self) -> dict[str, Any]:
        """The component's row in the output of `status`."""
        pid = self.process.pid if self.process.is_running else None
        return {"name": self.name, "pid": pid, "state": str(self.state), "addresses": dict(self.addresses)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """All components of one sandbox; building it starts none of them."""

    layout: Layout
    components: Sequence[Component]
    environment: Environment

    @property
    def before_services(self) -> list[str]:
        """Components that start before the services: the sandbox's own servers and the gateway."""
        return [component.name for component in self.components if component.name not in SERVICE_NAMES]

    def init_command(self) -> ManagedProcess:
        """The command that creates topics and indexes and loads tenants, catalogue and stock."""
        arguments = [
            "init",
            *("--tenants", str(paths.DEMO / "tenants.json")),
            *("--catalogue", str(paths.DEMO / "catalogue.csv")),
            *("--stock", str(paths.DEMO / "stock.json")),
        ]
        return _cli_process(arguments, environment=self.environment, layout=self.layout)

    def endpoints(self) -> dict[str, Any]:
        """The addresses and log files of everything, as in `endpoints.json`."""
        return {
            "gateway": self.environment.gateway_url,
            "kafka_bootstrap_servers": self.environment.kafka_bootstrap_servers,
            "mongodb_uri": self.environment.mongodb_uri,
            "registry_url": f"{self.environment.gateway_url}/registry",
            "services": {each.name: dict(each.addresses) for each in self.components if each.name in SERVICE_NAMES},
            "logs": {each.name: str(each.process.program.log) for each in self.components}
            | {"init": str(self.layout.log("init"))},
        }


def build_sandbox(layout: Layout, *, port: int, console: Console) -> Sandbox:
    """Choose ports and programs for everything. Downloads Kafka if it is missing.

    `KAFKA_BOOTSTRAP_SERVERS` and `MONGODB_URI` name servers to use instead of the sandbox's own.
    """
    ports = layout.allocate_ports(
        {"kafka": 2, "mongodb": 1} | {service.name: len(service.ports) for service in SERVICES}
    )
    components: list[Component] = []
    kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not kafka:
        with console.progress("downloading Kafka") as progress:
            distribution = kafka_distribution(progress)
        cluster = KafkaCluster(layout.kafka, ports=ports["kafka"], distribution=distribution)
        components.append(_kafka_component(cluster))
        kafka = cluster.bootstrap_servers
    else:
        # Print it: a shell that evaluated `sandbox env` still names those servers after that sandbox has stopped.
        console.line("using the Kafka of KAFKA_BOOTSTRAP_SERVERS")
    mongodb = os.environ.get("MONGODB_URI")
    if not mongodb:
        replica_set = ReplicaSet(layout.mongodb, ports=ports["mongodb"])
        components.append(_mongodb_component(replica_set))
        mongodb = replica_set.uri
    else:
        console.line("using the MongoDB of MONGODB_URI")
    upstreams = {name: f"127.0.0.1:{ports[name][0]}" for name in SERVICE_NAMES}
    gateway = Gateway(layout.gateway, upstreams=upstreams, port=port)
    environment = Environment(
        kafka_bootstrap_servers=kafka,
        mongodb_uri=mongodb,
        ports={name: ports[name] for name in SERVICE_NAMES},
        gateway_url=gateway.url,
        secrets=layout.secrets(),
    )
    components.append(_gateway_component(gateway))
    components += [_service_component(service, environment=environment, layout=layout) for service in SERVICES]
    return Sandbox(layout=layout, components=components, environment=environment)


def _kafka_component(cluster: KafkaCluster) -> Component:
    return Component(
        name="kafka",
        process=cluster.brokers[0],
        launch=cluster.launch,
        is_ready=cluster.is_ready,
        addresses={"bootstrap": cluster.bootstrap_servers},
    )


def _mongodb_component(replica_set: ReplicaSet) -> Component:
    return Component(
        name="mongodb",
        process=replica_set.members[0],
        launch=replica_set.launch,
        is_ready=replica_set.is_ready,
        addresses={"uri": replica_set.uri},
    )


def _gateway_component(gateway: Gateway) -> Component:
    return Component(
        name="gateway",
        process=gateway,
        launch=gateway.launch,
        is_ready=gateway.is_ready,
        addresses={"url": gateway.url},
    )


def _service_component(service: Service, *, environment: Environment, layout: Layout) -> Component:
    process = ManagedProcess(
        Program(
            name=service.name,
            command=[sys.executable, "-m", f"services.{service.name}"],
            log=layout.log(service.name),
            environment=environment.for_service(service),
            directory=paths.REPOSITORY,
        )
    )
    ports = environment.ports[service.name]
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in zip(service.ports, ports, strict=True)}

    def is_ready() -> bool:
        process.assert_running()
        status, component.last_error = http_get(f"{addresses['operations']}/ready") or (None, "")
        return status == 200

    component = Component(
        name=service.name, process=process, launch=process.launch, is_ready=is_ready, addresses=addresses
    )
    return component


def _cli_process(arguments: Sequence[str], *, environment: Environment, layout: Layout) -> ManagedProcess:
    """`python -m services …`, not started yet."""
    return ManagedProcess(
        Program(
            name="init",
            command=[sys.executable, "-m", "services", *arguments],
            log=layout.log("init"),
            environment=environment.for_cli(),
            directory=paths.REPOSITORY,
        )
    )
