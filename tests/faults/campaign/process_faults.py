"""Faults of services' processes: killed, stopped, frozen, rebalanced, with wrong clocks."""

import asyncio
from time import monotonic

from tests.chassis.eventually import until
from tests.faults.campaign.fault import Fault, Scene
from tests.faults.stack.replica import Replica

KINDS = ("ingest", "validator", "status", "fulfilment", "ledger", "webhooks")
CONSUMERS = ("validator", "status")
MAX_EXIT_S = 12.0
STORM_S, STORM_PAUSE_S = 12.0, 2.0


def _some_replica(scene: Scene, *kinds: str) -> Replica:
    return scene.rng.choice(scene.installation.of(scene.rng.choice(kinds)))


async def _kill(scene: Scene) -> None:
    replica = _some_replica(scene, *KINDS)
    scene.note(f"kill {replica.name}")
    await _kill_and_restart(scene, replica)


async def _kill_and_restart(scene: Scene, replica: Replica) -> None:
    replica.kill()
    await scene.last(0.0, 0.5, 3.0)
    _restart(replica)


def _restart(replica: Replica, *, clock_offset_s: float = 0.0) -> None:
    # Another fault of the round may have started it meanwhile.
    if not replica.process.is_running:
        replica.launch(clock_offset_s=clock_offset_s)


async def _kill_several(scene: Scene) -> None:
    chosen = [_some_replica(scene, *KINDS) for _ in range(3)]
    scene.note("kill " + ", ".join(replica.name for replica in chosen))
    for replica in chosen:
        await _kill_and_restart(scene, replica)


async def _kill_auth(scene: Scene) -> None:
    scene.note("kill auth")
    (auth,) = scene.installation.of("auth")
    auth.kill()
    await scene.last(3.0, 8.0)
    _restart(auth)


async def _stop(scene: Scene) -> None:
    replica = _some_replica(scene, *KINDS)
    scene.note(f"stop {replica.name}")
    await _stop_replica(replica)
    _restart(replica)


async def _stop_replica(replica: Replica) -> None:
    replica.is_down = True
    pid = replica.process.pid
    replica.process.terminate()
    # Another fault may kill and restart it meanwhile.
    await until(lambda: not replica.process.is_running or replica.process.pid != pid, deadline_s=MAX_EXIT_S)


async def _freeze(scene: Scene) -> None:
    replica = _some_replica(scene, *KINDS)
    scene.note(f"freeze {replica.name}")
    replica.process.suspend()
    await scene.last(1.0, 5.0)
    replica.process.resume()


async def _zombie(scene: Scene) -> None:
    """Longer than the session: another member takes its partitions, and it thaws in the middle of its work."""
    replica = _some_replica(scene, *CONSUMERS)
    scene.note(f"freeze {replica.name} for longer than its session")
    replica.process.suspend()
    await scene.last(9.0, 11.0)
    replica.process.resume()


async def _storm(scene: Scene) -> None:
    kind = scene.rng.choice(CONSUMERS)
    scene.note(f"members of {kind} come and go")
    ends = monotonic() + STORM_S
    while monotonic() < ends:
        replica = _some_replica(scene, kind)
        if scene.rng.random() < 0.5:
            replica.kill()
            await asyncio.sleep(scene.rng.random() * STORM_PAUSE_S)
            _restart(replica)
        else:
            replica.process.suspend()
            await asyncio.sleep(STORM_PAUSE_S)
            replica.process.resume()


async def _wrong_clock(scene: Scene) -> None:
    replica = _some_replica(scene, *KINDS)
    offset_s = scene.rng.choice((-10_800, -20, 20, 10_800))
    scene.note(f"clock of {replica.name} {offset_s:+} s")
    await _stop_replica(replica)
    _restart(replica, clock_offset_s=offset_s)
    await scene.last(10.0)
    await _stop_replica(replica)
    _restart(replica)


FAULTS = (
    Fault("kill", "F1 F2 F3 F4", _kill),
    Fault("kill-several", "F1 F2 F3 F4", _kill_several),
    Fault("kill-auth", "F5", _kill_auth),
    Fault("stop", "F26", _stop),
    Fault("freeze", "F12", _freeze),
    Fault("zombie", "F13", _zombie),
    Fault("storm", "F12", _storm),
    Fault("clock", "F20", _wrong_clock, is_clock=True),
)
