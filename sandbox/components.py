"""Which parts a sandbox has, where they are, and in which order they come and go."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import paths
from sandbox.child import Child
from sandbox.front import Front
from sandbox.kafka import KafkaCluster
from sandbox.kafka_kit import kafka_kit
from sandbox.layout import Layout
from sandbox.mongo import MongoSet
from sandbox.parts import Part, front_part, kafka_part, mongodb_part, operators_command, service_part
from sandbox.screen import Screen
from sandbox.services import SERVICES, World

SERVICE_NAMES = tuple(service.name for service in SERVICES)
SERVERS = ("kafka", "mongodb")
# The front door first, so that nobody new comes in; the servers last, because draining needs them.
STOPPING_ORDER: Sequence[Sequence[str]] = (("front",), SERVICE_NAMES, SERVERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The parts of one sandbox, none of them started."""

    layout: Layout
    parts: Sequence[Part]
    world: World

    @property
    def foundation(self) -> list[str]:
        """What must be there before the services: the servers that are ours, and the front door."""
        return [part.name for part in self.parts if part.name not in SERVICE_NAMES]

    def loading(self) -> Child:
        """The command that creates topics and indexes and loads tenants, catalogue and stock."""
        tenants, catalogue = paths.DEMO / "tenants.json", paths.DEMO / "catalogue.csv"
        stock = paths.DEMO / "stock.json"
        arguments = ["init", "--tenants", str(tenants), "--catalogue", str(catalogue), "--stock", str(stock)]
        return operators_command(arguments, world=self.world, layout=self.layout)

    def endpoints(self) -> dict[str, Any]:
        """Where everything can be reached."""
        return {
            "front_door": self.world.front_door,
            "kafka_bootstrap_servers": self.world.kafka_bootstrap_servers,
            "mongodb_uri": self.world.mongodb_uri,
            "registry_url": f"{self.world.front_door}/registry",
            "services": {part.name: dict(part.addresses) for part in self.parts if part.name in SERVICE_NAMES},
            "logs": {part.name: str(part.child.program.log) for part in self.parts}
            | {"init": str(self.layout.log("init"))},
        }


def assemble(layout: Layout, *, port: int, screen: Screen) -> Assembly:
    """Find ports and programs for everything. Fetches Kafka if it is not there yet.

    `KAFKA_BOOTSTRAP_SERVERS` and `MONGODB_URI` name servers to use instead of own ones.
    """
    ports = layout.ports({"kafka": 2, "mongodb": 1} | {service.name: len(service.doors) for service in SERVICES})
    parts: list[Part] = []
    kafka = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if not kafka:
        with screen.counting("fetching Kafka") as count:
            kit = kafka_kit(count)
        cluster = KafkaCluster(layout.kafka, ports=ports["kafka"], kit=kit)
        parts.append(kafka_part(cluster))
        kafka = cluster.bootstrap_servers
    else:
        # A shell that was told of a sandbox (`env`) still names its servers when it is gone.
        screen.line("using the Kafka that KAFKA_BOOTSTRAP_SERVERS names")
    mongodb = os.environ.get("MONGODB_URI")
    if not mongodb:
        replica_set = MongoSet(layout.mongodb, ports=ports["mongodb"])
        parts.append(mongodb_part(replica_set))
        mongodb = replica_set.uri
    else:
        screen.line("using the MongoDB that MONGODB_URI names")
    upstreams = {name: f"127.0.0.1:{ports[name][0]}" for name in SERVICE_NAMES}
    front = Front(layout.front, upstreams=upstreams, port=port)
    world = World(
        kafka_bootstrap_servers=kafka,
        mongodb_uri=mongodb,
        ports={name: ports[name] for name in SERVICE_NAMES},
        front_door=front.url,
        secrets=layout.secrets(),
    )
    parts.append(front_part(front))
    parts += [service_part(service, world=world, layout=layout) for service in SERVICES]
    return Assembly(layout=layout, parts=parts, world=world)
