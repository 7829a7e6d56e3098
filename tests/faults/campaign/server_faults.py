"""Faults of Kafka's and MongoDB's processes: killed, stopped, frozen, other leaders, disks full or failing."""

import asyncio

from confluent_kafka import ElectionType
from confluent_kafka.admin import AdminClient

from sandbox.kafka import Broker
from sandbox.mongo import Mongod
from sandbox.process import ManagedProcess
from tests.chassis.eventually import until
from tests.faults.campaign.fault import Fault, Scene

STEP_DOWN_S = 5
MAX_STOP_S = 20.0
ADMIN_TIMEOUT_S = 10.0


def _some_broker(scene: Scene) -> Broker:
    return scene.rng.choice(scene.installation.kafka.brokers)


async def _primary(scene: Scene) -> Mongod:
    """The primary; any member while there is none."""
    found = await asyncio.to_thread(scene.installation.mongodb.primary)
    return found or scene.installation.mongodb.members[0]


async def _kill_and_restart(scene: Scene, server: Broker | Mongod) -> None:
    scene.note(f"kill {server.program.name}")
    server.kill()
    await scene.last(0.5, 4.0, 8.0)
    if not server.is_running:
        server.launch()


async def _freeze(scene: Scene, process: ManagedProcess, *choices: float) -> None:
    process.suspend()
    for_s = await scene.last(*choices)
    process.resume()
    scene.note(f"froze {process.program.name} for {for_s} s")


async def _kill_broker(scene: Scene) -> None:
    await _kill_and_restart(scene, _some_broker(scene))


async def _freeze_broker(scene: Scene) -> None:
    await _freeze(scene, _some_broker(scene), 5.0, 12.0)


async def _restart_all_brokers(scene: Scene) -> None:
    """One after the other, as an upgrade does."""
    scene.note("rolling restart of Kafka")
    for broker in scene.installation.kafka.brokers:
        broker.terminate()
        await until(lambda stopping=broker: not stopping.is_running, deadline_s=MAX_STOP_S)  # type: ignore[misc]
        broker.launch()
        await until(lambda starting=broker: asyncio.to_thread(starting.is_ready, brokers=3), deadline_s=60.0)  # type: ignore[misc]


async def _move_leaders(scene: Scene) -> None:
    """A broker goes and comes back, and the leaders go back to it at once."""
    broker = _some_broker(scene)
    scene.note(f"leaders leave {broker.program.name} and come back")
    broker.terminate()
    await until(lambda: not broker.is_running, deadline_s=MAX_STOP_S)
    broker.launch()
    await until(lambda: asyncio.to_thread(broker.is_ready, brokers=3), deadline_s=60.0)
    await asyncio.to_thread(_elect_preferred_leaders, scene.installation.kafka.bootstrap_servers)


def _elect_preferred_leaders(bootstrap_servers: str) -> None:
    client = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    # Without options: confluent-kafka 2.16 raises a SystemError for any of them.
    client.elect_leaders(ElectionType.PREFERRED, None).result(ADMIN_TIMEOUT_S)


async def _freeze_two_brokers(scene: Scene) -> None:
    """Too few replicas in sync: nothing may be acknowledged meanwhile."""
    frozen = scene.rng.sample(scene.installation.kafka.brokers, 2)
    scene.note("froze " + " and ".join(broker.program.name for broker in frozen))
    for broker in frozen:
        broker.suspend()
    await scene.last(3.0, 8.0)
    for broker in frozen:
        broker.resume()


async def _kill_primary(scene: Scene) -> None:
    await _kill_and_restart(scene, await _primary(scene))


async def _freeze_primary(scene: Scene) -> None:
    await _freeze(scene, await _primary(scene), 2.0, 8.0)


async def _freeze_secondaries(scene: Scene) -> None:
    """No write reaches a majority meanwhile."""
    primary = await _primary(scene)
    frozen = [member for member in scene.installation.mongodb.members if member is not primary]
    scene.note("froze both secondaries")
    for member in frozen:
        member.suspend()
    await scene.last(2.0, 6.0)
    for member in frozen:
        member.resume()


async def _step_down(scene: Scene) -> None:
    for _ in range(scene.rng.choice((1, 3))):
        primary = await _primary(scene)
        scene.note(f"{primary.program.name} steps down")
        await asyncio.to_thread(primary.run_command, "replSetStepDown", STEP_DOWN_S)
        await scene.last(1.0, 3.0)


async def _fill_disk(scene: Scene) -> None:
    server = scene.rng.choice(scene.installation.servers)
    disk = scene.installation.disks.of(server)
    scene.note(f"the disk of {server.program.name} is full")
    disk.fill()
    await scene.last(3.0, 8.0)
    disk.free()
    _revive(scene, server)


async def _fail_disk(scene: Scene) -> None:
    server = scene.rng.choice(scene.installation.servers)
    disk = scene.installation.disks.of(server)
    what = scene.rng.choice(("writes", "syncs"))
    scene.note(f"{what} of {server.program.name} fail")
    disk.fail(what)
    await scene.last(2.0, 6.0)
    disk.free()
    _revive(scene, server)


def _revive(scene: Scene, server: Broker | Mongod) -> None:
    """Start it again if the disk has ended it, as its supervisor would."""
    if not server.is_running:
        scene.note(f"{server.program.name} had ended itself")
        server.launch()


FAULTS = (
    Fault("kill-broker", "F6", _kill_broker, takes_nodes=True),
    Fault("freeze-broker", "F7", _freeze_broker, takes_nodes=True),
    Fault("rolling-restart", "F6", _restart_all_brokers, takes_nodes=True),
    Fault("move-leaders", "F11", _move_leaders, takes_nodes=True),
    Fault("few-replicas", "F11", _freeze_two_brokers, takes_nodes=True),
    Fault("kill-primary", "F16", _kill_primary, takes_nodes=True),
    Fault("freeze-primary", "F16", _freeze_primary, takes_nodes=True),
    Fault("freeze-secondaries", "F16", _freeze_secondaries, takes_nodes=True),
    Fault("step-down", "F16", _step_down),
    Fault("full-disk", "F18", _fill_disk, takes_nodes=True, needs_disks=True),
    Fault("failing-disk", "F19", _fail_disk, takes_nodes=True, needs_disks=True),
)
