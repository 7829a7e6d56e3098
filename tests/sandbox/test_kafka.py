"""An embedded broker: its records survive a kill, and it returns at its address."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox.errors import NotReadyError
from sandbox.kafka import KafkaCluster
from sandbox.kafka_distribution import KafkaDistribution, kafka_distribution
from sandbox.probes import broker_count


@pytest.fixture
def invalid_aot_cache(tmp_path: Path) -> KafkaDistribution:
    """The real distribution, with an invalid AOT cache."""
    real = kafka_distribution()
    own = KafkaDistribution(java=real.java, class_path=real.class_path, directory=tmp_path)
    own.bootstrap_checkpoint.symlink_to(real.bootstrap_checkpoint)
    own.aot_cache.write_bytes(b"no classes")
    return own


async def test_records_survive_a_kill_and_are_found_at_the_same_address(
    tmp_path: Path, invalid_aot_cache: KafkaDistribution
) -> None:
    """Also with an unusable AOT cache, which must not prevent the start."""
    with KafkaCluster(tmp_path / "kafka", distribution=invalid_aot_cache) as first:
        await _write(first.bootstrap_servers)
        first.kill()
        assert not first.is_running
    with KafkaCluster(tmp_path / "kafka", ports=first.ports) as second:
        assert second.bootstrap_servers == first.bootstrap_servers
        assert broker_count(second.ports[0]) == 1
        assert await _read(second.bootstrap_servers) == b"kept"
    assert not second.is_running


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"(?s)kafka-1 exited with code 1.*offsets\.topic\.num\.partitions"):
        KafkaCluster(tmp_path, settings={"offsets.topic.num.partitions": "many"}).start()


async def _write(bootstrap: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("kept", num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all") as producer:
        await producer.send_and_wait("kept", b"kept")


async def _read(bootstrap: str) -> bytes | None:
    async with AIOKafkaConsumer("kept", bootstrap_servers=bootstrap, auto_offset_reset="earliest") as consumer:
        value: bytes | None = (await consumer.getone()).value
        return value
