"""Compressed batches: read as Java reads them, and whatever they hold is bounded."""

import gzip
import struct
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import ConsumerRecord
from aiokafka.codec import lz4_encode

from services.chassis.kafka import aiokafka_patches as reading
from services.chassis.kafka.aiokafka_patches import install
from services.chassis.kafka.consumer import Poll
from services.chassis.kafka.decompression import DecompressionError, decompress
from tests.chassis.eventually import until
from tests.chassis.kafka.batch_fixtures import GZIP, LZ4, SNAPPY, ZSTD, a_batch, send
from tests.chassis.kafka.consumer_fixtures import RecordingHandler, build_harness, running
from tests.chassis.kafka.kafka_fixtures import a_name, make_topics, read_all


def snappy(data: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(data))


def xerial(data: bytes) -> bytes:
    """As Java and librdkafka write it: blocks of bounded size."""
    blocks = [snappy(data[at : at + 32_768]) for at in range(0, len(data), 32_768)]
    return b"\x82SNAPPY\0\0\0\0\1\0\0\0\1" + b"".join(struct.pack(">i", len(block)) + block for block in blocks)


def zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data))


def in_two(compress: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    return lambda data: compress(data[:5]) + compress(data[5:])


COMPRESSED: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (GZIP, gzip.compress),
    "gzip in two": (GZIP, in_two(gzip.compress)),
    "gzip, and something behind it": (GZIP, lambda data: gzip.compress(data) + b"anything"),
    "snappy": (SNAPPY, snappy),
    "snappy in blocks": (SNAPPY, xerial),
    "lz4": (LZ4, lz4_encode),
    "zstd": (ZSTD, zstd),
    "zstd in two": (ZSTD, in_two(zstd)),
}


@pytest.mark.parametrize("how", COMPRESSED)
@pytest.mark.parametrize("length", [1, 100, 65_536, 1_000_000])
def test_what_is_compressed_is_read_up_to_the_bound(how: str, length: int) -> None:
    codec, compress = COMPRESSED[how]
    data = memoryview(compress(bytes(length)))
    assert decompress(codec, data, max_bytes=length) == bytes(length)
    with pytest.raises(DecompressionError):
        decompress(codec, data, max_bytes=length - 1)


@pytest.mark.parametrize("how", ["gzip", "snappy", "snappy in blocks", "lz4", "zstd"])
def test_what_is_broken_is_told(how: str) -> None:
    codec, compress = COMPRESSED[how]
    data = compress(bytes(range(256)) * 10)
    for broken in (b"", data[:-9], b"\x07" * 40):
        with pytest.raises(DecompressionError):
            decompress(codec, memoryview(broken))


def test_a_codec_that_is_not_known_is_told() -> None:
    with pytest.raises(DecompressionError):
        decompress(5, memoryview(b""))


@pytest.mark.parametrize("how", COMPRESSED)
async def test_compressed_records_are_read_once_and_what_is_behind_them_too(kafka_bootstrap: str, how: str) -> None:
    """F14: gzip with something behind it passes the broker, and must not stop the consumer."""
    harness, effects = await build_harness(kafka_bootstrap), RecordingHandler()
    codec, compress = COMPRESSED[how]
    await send(kafka_bootstrap, harness.topic, a_batch([b"0", b"1", b"2"], compress, codec=codec, at_ms=-7))
    await harness.produce([3])
    async with running(harness.consumer(effects)):
        await until(lambda: 3 in effects.handled)
    assert effects.handled == [0, 1, 2, 3]
    assert await harness.committed() == 4


async def test_a_compressed_record_has_the_brokers_time_where_the_topic_says_so(kafka_bootstrap: str) -> None:
    install()
    topic = a_name("stamped")
    await make_topics(kafka_bootstrap, {topic: 1}, config={"message.timestamp.type": "LogAppendTime"})
    await send(kafka_bootstrap, topic, a_batch([b"0"]), a_batch([b"1"], zstd, codec=ZSTD))
    plain, compressed = await read_all(kafka_bootstrap, topic)
    assert (plain.timestamp_type, compressed.timestamp_type) == (1, 1)
    assert 1_000 < plain.timestamp <= compressed.timestamp


@pytest.mark.parametrize("count", [40, 4_000])
async def test_what_is_compressed_in_all_partitions_is_not_held_in_memory_at_once(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """I8: each partition's batch of some KB inflates to megabytes. A poll takes what it may, from all together."""
    monkeypatch.setattr(reading, "MAX_POLL_BYTES", 1_000_000)
    harness, effects, sizes = await build_harness(kafka_bootstrap, partitions=6), RecordingHandler(), list[int]()
    effects.on_poll = lambda poll: sizes.append(sum(len(one.value) for records in poll.values() for one in records))
    effects.get_value = lambda record: int((record.value or b"")[-6:])
    length = 4_000_000 // count
    for partition in range(6):
        values = [b"%0*d" % (length, partition * count + number) for number in range(count)]
        await send(kafka_bootstrap, harness.topic, a_batch(values, zstd, codec=ZSTD), partition=partition)
    async with running(harness.consumer(effects)):
        await until(lambda: len(effects.handled) == 6 * count, deadline_s=30)
    assert max(sizes) <= 1_000_000 + length
    assert sorted(effects.handled) == list(range(6 * count))
    assert [await harness.committed(partition) for partition in range(6)] == [count] * 6


async def test_a_poll_takes_nothing_of_anothers_bytes(kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that nobody polls through the chassis, as the tests' own, reads everything."""
    install()
    monkeypatch.setattr(reading, "MAX_POLL_BYTES", 1_000)
    topic = a_name("plain")
    await make_topics(kafka_bootstrap, {topic: 2})
    for partition in (0, 1):
        batches = [a_batch([b"%0400d" % number]) for number in range(10)]
        await send(kafka_bootstrap, topic, *batches, partition=partition)
    assert len(await read_all(kafka_bootstrap, topic)) == 20


@pytest.mark.parametrize(
    ("codec", "compress", "reason"),
    [
        (ZSTD, zstd, "cannot be decompressed to at most 20000 bytes"),
        (GZIP, gzip.compress, "decompresses to more than 20000 bytes"),
    ],
    ids=["zstd", "gzip"],
)
async def test_in_place_of_a_batch_that_holds_too_much_comes_one_record_that_says_so(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch, codec: int, compress: Callable[[bytes], bytes], reason: str
) -> None:
    """F14, I8: a batch of 30 KB may hold a gigabyte. Those before and behind it are read as ever."""
    monkeypatch.setattr(reading, "decompress", lambda codec, data: decompress(codec, data, max_bytes=20_000))
    harness, effects, read = await build_harness(kafka_bootstrap), RecordingHandler(), list[ConsumerRecord]()

    def note(poll: Poll) -> None:
        read.extend(record for records in poll.values() for record in records)

    effects.on_poll = note
    bomb = a_batch([bytes(10_000)] * 2, compress, codec=codec)
    few = a_batch([b"0"], compress, codec=codec)
    await send(kafka_bootstrap, harness.topic, few, bomb, few)
    effects.get_value = lambda record: record.offset
    async with running(harness.consumer(effects)):
        await until(lambda: 3 in effects.handled)
    assert effects.handled == [0, 2, 3]
    told = read[1]
    assert (told.key, told.value, told.timestamp) == (None, bomb.data[61:], 1_000)
    assert dict(told.headers) == {reading.UNREADABLE_BATCH_HEADER: f"offsets 1 to 2: {reason}".encode()}
    assert await harness.committed() == 4


async def test_of_many_batches_a_poll_brings_what_can_be_held_and_the_rest_comes_later(
    kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I8: one fetch can bring thousands of batches that are small only while they are compressed."""
    monkeypatch.setattr(reading, "MAX_DECOMPRESSED_PER_FETCH", 2_500)
    harness, effects, sizes = await build_harness(kafka_bootstrap), RecordingHandler(), list[int]()

    def note(poll: Poll) -> None:
        sizes.extend(len(records) for records in poll.values())

    effects.on_poll = note
    batches = [a_batch([b"%01000d" % number], zstd, codec=ZSTD) for number in range(10)]
    await send(kafka_bootstrap, harness.topic, *batches)
    async with running(harness.consumer(effects)):
        await until(lambda: 9 in effects.handled)
    assert effects.handled == list(range(10))
    assert sizes == [3, 3, 3, 1]
    assert await harness.committed() == 10
    assert [record.offset for record in await read_all(kafka_bootstrap, harness.topic)] == list(range(10))
