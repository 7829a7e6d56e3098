"""Build the AOT class cache with which Kafka starts in half the time."""

import tempfile
from pathlib import Path

from sandbox.jars import file_lock
from sandbox.kafka import FAST_START_OPTIONS, KafkaCluster
from sandbox.kafka_distribution import KafkaDistribution

AOT_WRITE_TIMEOUT_S = 120.0


def build_aot_cache(distribution: KafkaDistribution) -> bool:
    """Start and stop a broker once and store the classes that it loaded, if this Java supports it.

    Takes about ten seconds, once per machine. Returns whether the cache exists; brokers start without it, too.
    """
    if not distribution.java.supports_aot_cache:
        return False
    with file_lock(distribution.directory / ".lock"):
        if not distribution.aot_cache.is_file():
            _record(distribution)
    return distribution.aot_cache.is_file()


def _record(distribution: KafkaDistribution) -> None:
    with tempfile.TemporaryDirectory(dir=distribution.directory) as scratch:
        recorded = Path(scratch) / "classes.aot"
        options = ("-Xmx512m", *FAST_START_OPTIONS, f"-XX:AOTCacheOutput={recorded}")
        broker = KafkaCluster(Path(scratch), java_options=options, distribution=distribution).start().brokers[0]
        broker.stop(grace_s=AOT_WRITE_TIMEOUT_S)
        if recorded.is_file():
            recorded.replace(distribution.aot_cache)
