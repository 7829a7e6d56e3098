"""Fetches record batches as stored in a partition; a consumer would return single records."""

import struct
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.fetch import FetchRequest

MAX_FETCH_BYTES = 64 * 1024 * 1024


class StoredBatch(NamedTuple):
    """A batch's first offset and number of records."""

    base_offset: int
    records: int


async def fetch_stored_batches(bootstrap: str, topic: str, *, partitions: int) -> dict[int, list[StoredBatch]]:
    """Fetch the batches of each partition."""
    client = AIOKafkaClient(bootstrap_servers=bootstrap)
    await client.bootstrap()
    try:
        await client.add_topic(topic)
        return {partition: await _fetch(client, topic, partition) for partition in range(partitions)}
    finally:
        await client.close()


async def _fetch(client: AIOKafkaClient, topic: str, partition: int) -> list[StoredBatch]:
    stored: list[StoredBatch] = []
    leader = client.cluster.leader_for_partition(TopicPartition(topic, partition))
    offset = 0
    while True:
        topics = [(topic, [(partition, offset, MAX_FETCH_BYTES)])]
        response = await client.send(leader, FetchRequest(100, 1, MAX_FETCH_BYTES, 0, topics))
        ((_, ((_, error, *_, data),)),) = response.topics
        assert error == 0
        batches = _parse_batches(data or b"")
        if not batches:
            return stored
        stored += batches
        offset = batches[-1].base_offset + batches[-1].records


def _parse_batches(data: bytes) -> list[StoredBatch]:
    position, batches = 0, []
    while position + 61 <= len(data):
        base_offset, length = struct.unpack_from(">qi", data, position)
        if position + 12 + length > len(data):
            break
        (records,) = struct.unpack_from(">i", data, position + 57)
        batches.append(StoredBatch(base_offset, records))
        position += 12 + length
    return batches
