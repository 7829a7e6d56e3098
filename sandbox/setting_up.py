"""What is done once per machine, so that starting is quick and needs no network."""

from sandbox.front import find_caddy
from sandbox.jars import KAFKA_VERSION
from sandbox.kafka_kit import kafka_kit
from sandbox.mongo import find_mongod
from sandbox.preload import preload_classes
from sandbox.screen import Screen


def set_up(screen: Screen, *, preload: bool) -> None:
    """Fetch Kafka, look for the other programs, and let Kafka start faster from now on."""
    with screen.counting("fetching Kafka") as count:
        kit = kafka_kit(count)
    screen.line(
        f"Kafka {KAFKA_VERSION} on Java {kit.java.version}, {find_mongod().name} and {find_caddy().name} are there"
    )
    if preload and not kit.preloaded.is_file():
        with screen.waiting("Kafka's classes to be loaded ahead of time"):
            preload_classes(kit)
