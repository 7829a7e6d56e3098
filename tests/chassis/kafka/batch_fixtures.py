"""Record batches as any client may make them, byte by byte."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

PLAIN, GZIP, SNAPPY, LZ4, ZSTD = range(5)
_HEAD = 61


@dataclass(frozen=True)
class Batch:
    """What is sent, and how many records it says it has."""

    data: bytes
    records: int

    def build(self) -> bytearray:
        return bytearray(self.data)

    def size(self) -> int:
        return len(self.data)


def a_batch(
    values: Sequence[bytes], compress: Callable[[bytes], bytes] = bytes, *, codec: int = PLAIN, at_ms: int = 1_000
) -> Batch:
    """A batch of records with these values, whose records are compressed like this."""
    builder = _DefaultRecordBatchBuilderPy(2, PLAIN, 0, -1, -1, 0, 1 << 40)
    for number, value in enumerate(values):
        builder.append(number, at_ms, None, value, [])
    whole = builder.build()
    data = whole[:_HEAD] + compress(bytes(whole[_HEAD:]))
    struct.pack_into(">i", data, 8, len(data) - 12)
    struct.pack_into(">h", data, 21, codec)
    struct.pack_into(">I", data, 17, calc_crc32c(bytes(data[21:])))
    return Batch(bytes(data), len(values))


async def send(bootstrap: str, topic: str, *batches: Batch, partition: int = 0) -> None:
    """To one of the topic's partitions, as they are."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        for one in batches:
            batch = producer.create_batch()
            batch._builder = one
            batch._relative_offset = one.records
            batch.close()
            await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()
