"""Record batches as they lie in a partition, fetched without a consumer, which would take them apart."""

import struct
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest

EVERYTHING = 64 * 1024 * 1024


class StoredBatch(NamedTuple):
    """Where a batch begins, and how many records it holds."""

    base_offset: int
    records: int


async def stored_batches(bootstrap: str, topic: str, *, partitions: int) -> dict[int, list[StoredBatch]]:
    """The batches of each partition."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        return {partition: await _fetched(client, topic, partition) for partition in range(partitions)}
    finally:
        await client.close()


async def _fetched(client: AIOKafkaClient, topic: str, partition: int) -> list[StoredBatch]:
    found: list[StoredBatch] = []
    leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
    offset = 0
    while True:
        wanted = [(topic, [(partition, offset, EVERYTHING)])]
        response = await client.send(leader, FetchRequest(100, 1, EVERYTHING, 0, wanted))
        ((_, ((_, error, *_, data),)),) = response.topics
        assert error == 0
        batches = _split(data or b"")
        if not batches:
            return found
        found += batches
        offset = batches[-1].base_offset + batches[-1].records


def _split(data: bytes) -> list[StoredBatch]:
    at, found = 0, []
    while at + 61 <= len(data):
        base_offset, length = struct.unpack_from(">qi", data, at)
        if at + 12 + length > len(data):
            break
        (records,) = struct.unpack_from(">i", data, at + 57)
        found.append(StoredBatch(base_offset, records))
        at += 12 + length
    return found
