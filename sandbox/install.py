"""One-time preparation of a machine, so that the sandbox starts quickly and needs no network."""

from sandbox.console import Console
from sandbox.gateway import find_caddy
from sandbox.jars import KAFKA_VERSION
from sandbox.kafka_distribution import kafka_distribution
from sandbox.mongo import find_mongod
from sandbox.preload import build_aot_cache


def install(console: Console, *, preload: bool) -> None:
    """Download Kafka, check that the other programs exist, and build Kafka's AOT cache."""
    with console.progress("downloading Kafka") as progress:
        distribution = kafka_distribution(progress)
    others = f"{find_mongod().name} and {find_caddy().name}"
    console.line(f"Kafka {KAFKA_VERSION} on Java {distribution.java.version}, {others} are installed")
    if preload and not distribution.aot_cache.is_file():
        with console.waiting("Kafka's AOT class cache"):
            build_aot_cache(distribution)
