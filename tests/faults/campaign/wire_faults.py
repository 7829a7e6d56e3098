"""Faults of connections: between services and servers, between brokers, and between clients and services."""

from collections.abc import Sequence

from tests.faults.campaign.fault import Fault, Scene
from tests.faults.wire.proxy import BOTH, Direction, Proxy

KINDS = ("hold", "drop", "cut", "delay", "slice")


def _groups(scene: Scene) -> Sequence[Sequence[Proxy]]:
    """Which proxies suffer together: one, all of Kafka's, all of MongoDB's, one replica's."""
    kafka = [wires.clients for wires in scene.installation.kafka.wires]
    mongodb = list(scene.installation.mongodb.wires)
    replicas = [[replica.proxy] for replica in scene.installation.replicas.values()]
    return [*([each] for each in kafka), kafka, *([each] for each in mongodb), mongodb, scene.rng.choice(replicas)]


async def _break(scene: Scene, proxies: Sequence[Proxy], direction: Direction) -> None:
    kind = scene.rng.choice(KINDS)
    scene.note(f"{kind} {direction} at {', '.join(proxy.name for proxy in proxies)}")
    for _ in range(scene.rng.choice((1, 3)) if kind in ("drop", "cut") else 1):
        for proxy in proxies:
            begin(proxy, direction, kind, scene)
        await (scene.last(0.05, 0.5) if kind == "drop" else scene.last(2.0, 6.0))
        for proxy in proxies:
            proxy.heal()


def begin(proxy: Proxy, direction: Direction, kind: str, scene: Scene) -> None:
    """Begin a fault of one direction."""
    flow, rng = proxy.flows[direction], scene.rng
    match kind:
        case "hold":
            flow.hold()
        case "drop":
            flow.is_dropping = True
        case "cut":
            flow.cut_after_bytes = rng.choice((1, 100, 3_000, 50_000))
        case "delay":
            flow.delay_s = rng.choice((0.02, 0.2, 1.0))
        case "slice":
            flow.piece_bytes, flow.rest_s = rng.choice((1_000, 10_000)), 0.001


async def _break_some(scene: Scene) -> None:
    proxies = scene.rng.choice(_groups(scene))
    await _break(scene, proxies, scene.rng.choice((*BOTH, Direction.ANSWERS)))


async def _lose_answers(scene: Scene) -> None:
    """What was asked is done, and nobody hears of it."""
    installation = scene.installation
    proxies = scene.rng.choice(
        ([wires.clients for wires in installation.kafka.wires], list(installation.mongodb.wires))
    )
    scene.note(f"answers of {proxies[0].name.partition('-')[0]} are lost, again and again")
    for _ in range(8):
        for proxy in proxies:
            proxy.flows[Direction.ANSWERS].is_dropping = True
        await scene.last(0.02, 0.1, 0.3)
        for proxy in proxies:
            proxy.heal()
        await scene.last(0.3, 1.0)


async def _break_between_brokers(scene: Scene) -> None:
    """One broker cannot be reached by the others, or does not answer them; its own connections go on."""
    proxy = scene.rng.choice(scene.installation.kafka.wires).brokers
    direction = scene.rng.choice(BOTH)
    scene.note(f"hold {direction} at {proxy.name}")
    proxy.flows[direction].hold()
    await scene.last(4.0, 10.0)
    proxy.heal()


FAULTS = (
    Fault("wire", "F8 F9 F17 F21 F22", _break_some),
    Fault("lost-answers", "F9 F17", _lose_answers),
    Fault("partition", "F8", _break_between_brokers, takes_nodes=True),
)
