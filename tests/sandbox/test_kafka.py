"""A broker of one's own: what it was given survives a kill, and it comes back at its address."""

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from sandbox.kafka import KafkaCluster
from sandbox.kafka_kit import KafkaKit, kafka_kit
from sandbox.probes import known_brokers
from sandbox.waiting import NeverReady


@pytest.fixture
def unusable_classes(tmp_path: Path) -> KafkaKit:
    """The real kit, but with preloaded classes that are none."""
    real = kafka_kit()
    own = KafkaKit(java=real.java, class_path=real.class_path, directory=tmp_path)
    own.checkpoint.symlink_to(real.checkpoint)
    own.preloaded.write_bytes(b"no classes")
    return own


async def test_records_survive_a_kill_and_are_found_at_the_same_address(
    tmp_path: Path, unusable_classes: KafkaKit
) -> None:
    """Unusable preloaded classes must not keep it from starting either."""
    with KafkaCluster(tmp_path / "kafka", kit=unusable_classes) as first:
        await _write(first.bootstrap_servers)
        first.kill()
        assert not first.is_running
    with KafkaCluster(tmp_path / "kafka", ports=first.ports) as second:
        assert second.bootstrap_servers == first.bootstrap_servers
        assert known_brokers(second.ports[0]) == 1
        assert await _read(second.bootstrap_servers) == b"kept"
    assert not second.is_running


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(NeverReady, match=r"(?s)kafka-1 ended with exit code 1.*offsets\.topic\.num\.partitions"):
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
