"""Kafka starts in half the time when its classes were loaded and linked ahead of time."""

import tempfile
from pathlib import Path

from sandbox.jars import exclusively
from sandbox.kafka import START_QUICKLY, KafkaCluster
from sandbox.kafka_kit import KafkaKit

SECONDS_TO_WRITE = 120.0


def preload_classes(kit: KafkaKit) -> bool:
    """Let a broker start and end once and keep the classes it loaded, if this Java can do that.

    Takes about ten seconds, once per machine. False when there is nothing to use: brokers then start without.
    """
    if not kit.java.can_load_ahead_of_time:
        return False
    with exclusively(kit.directory / ".lock"):
        if not kit.preloaded.is_file():
            _record(kit)
    return kit.preloaded.is_file()


def _record(kit: KafkaKit) -> None:
    with tempfile.TemporaryDirectory(dir=kit.directory) as scratch:
        recorded = Path(scratch) / "classes.aot"
        options = ("-Xmx512m", *START_QUICKLY, f"-XX:AOTCacheOutput={recorded}")
        broker = KafkaCluster(Path(scratch), java_options=options, kit=kit).start().brokers[0]
        broker.stop(grace_s=SECONDS_TO_WRITE)
        if recorded.is_file():
            recorded.replace(kit.preloaded)
