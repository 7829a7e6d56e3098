"""The parts of a sandbox, alike in how they are started, asked and stopped."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox import paths
from sandbox.child import Child, Program
from sandbox.front import Front
from sandbox.kafka import KafkaCluster
from sandbox.layout import Layout
from sandbox.mongo import MongoSet
from sandbox.probes import http_answer
from sandbox.services import Service, World
from sandbox.state import State


@dataclass(slots=True, kw_only=True)
class Part:
    """One program of the sandbox.

    `settle` is asked until it answers True; it may take steps towards readiness, and raises `NeverReady` when there
    is no hope.
    """

    name: str
    child: Child
    launch: Callable[[], None]
    settle: Callable[[], bool]
    addresses: Mapping[str, str]
    state: State = State.STOPPED
    # What it last said about not being ready.
    excuse: str = ""

    def row(self) -> dict[str, Any]:
        """What `status` tells about it."""
        pid = self.child.pid if self.child.is_running else None
        return {"name": self.name, "pid": pid, "state": str(self.state), "addresses": dict(self.addresses)}


def kafka_part(cluster: KafkaCluster) -> Part:
    """The one broker of a sandbox."""
    broker = cluster.brokers[0]
    return Part(
        name="kafka",
        child=broker,
        launch=cluster.launch,
        settle=cluster.settle,
        addresses={"bootstrap": cluster.bootstrap_servers},
    )


def mongodb_part(replica_set: MongoSet) -> Part:
    """The one MongoDB of a sandbox."""
    member = replica_set.members[0]
    return Part(
        name="mongodb",
        child=member,
        launch=replica_set.launch,
        settle=replica_set.settle,
        addresses={"uri": replica_set.uri},
    )


def front_part(front: Front) -> Part:
    """The front door."""
    return Part(name="front", child=front, launch=front.launch, settle=front.settle, addresses={"url": front.url})


def service_part(service: Service, *, world: World, layout: Layout) -> Part:
    """One service."""
    child = Child(
        Program(
            name=service.name,
            command=[sys.executable, "-m", f"services.{service.name}"],
            log=layout.log(service.name),
            environment=world.environment(service),
            directory=paths.REPOSITORY,
        )
    )
    addresses = {
        door: f"http://127.0.0.1:{port}" for door, port in zip(service.doors, world.ports[service.name], strict=True)
    }

    def settle() -> bool:
        child.must_run()
        status, part.excuse = http_answer(f"{addresses['operations']}/ready") or (None, "")
        return status == 200

    part = Part(
        name=service.name,
        child=child,
        launch=child.launch,
        settle=settle,
        addresses=addresses,
    )
    return part


def operators_command(arguments: Sequence[str], *, world: World, layout: Layout) -> Child:
    """`python -m services …`, not started yet."""
    return Child(
        Program(
            name="init",
            command=[sys.executable, "-m", "services", *arguments],
            log=layout.log("init"),
            environment=world.operators_environment(),
            directory=paths.REPOSITORY,
        )
    )
