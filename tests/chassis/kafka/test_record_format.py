"""Records as this project reads and writes them are those of aiokafka, whose reader and writer are the judges."""

from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint_py
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.kafka.encoded_batch import HEADER_BYTES, EncodedBatch
from services.chassis.kafka.record_format import (
    Header,
    RecordHeaders,
    encode_header,
    encode_headers,
    encode_record,
    read_records,
)

Record = tuple[bytes | None, bytes | None, Sequence[Header]]

CONTENTS = st.none() | st.binary(max_size=80)
HEADERS = st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"]), max_size=70), CONTENTS), max_size=6)
RECORDS = st.lists(st.tuples(CONTENTS, CONTENTS, HEADERS), min_size=1, max_size=6)
LARGE: list[Record] = [
    (b"k" * 5_000, b"v" * 70_000, [("name" * 40, b"c" * 300_000)]),
    (None, None, ()),
    (b"", b"", [("", None), ("", b"")]),
    *[(b"k", b"v", [("n", b"c")] * 70)] * 70,
]
COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")


def a_batch(records: Sequence[Record], compression: str = "none") -> EncodedBatch:
    encoded = [encode_record(offset, *record) for offset, record in enumerate(records)]
    return EncodedBatch(b"".join(encoded), len(encoded), compression=compression)


def built(batch: EncodedBatch) -> bytes:
    return batch._build()


def by_aiokafka(records: Sequence[Record], *, offset: int = 0, timestamps: Sequence[int] = ()) -> bytes:
    """The bytes that aiokafka writes for these records."""
    builder = _DefaultRecordBatchBuilderPy(2, 0, 0, -1, -1, 0, 1 << 40)
    for number, (key, value, headers) in enumerate(records):
        at = timestamps[number] if timestamps else 1_000
        builder.append(offset + number, at, key, value, list(headers))
    return bytes(builder.build())


def plain(record: Any) -> tuple[Any, ...]:
    return record.offset, record.timestamp, record.timestamp_type, record.key, record.value, tuple(record.headers)


def read(data: bytes, *, append_timestamp: int | None = None) -> list[tuple[Any, ...]]:
    batch = DefaultRecordBatch(data)
    count = int.from_bytes(data[HEADER_BYTES - 4 : HEADER_BYTES], "big")
    records = read_records(
        data[HEADER_BYTES:],
        count,
        base_offset=batch.base_offset,
        base_timestamp=batch.first_timestamp,
        append_timestamp=append_timestamp,
    )
    return [plain(record) for record in records]


def read_in_python(data: bytes) -> list[tuple[Any, ...]]:
    """What aiokafka reads without its C code, which reads beyond the end of corrupt bytes and then crashes."""
    batch = _DefaultRecordBatchPy(data)
    found = [plain(batch._read_msg(decode_varint_py)) for _ in range(batch._num_records)]
    if batch._pos != len(data):
        raise ValueError("bytes are left over")
    return found


@given(RECORDS, st.sampled_from(COMPRESSIONS))
def test_what_is_written_is_what_aiokafka_reads(records: list[Record], compression: str) -> None:
    data = built(a_batch(records, compression))
    assert DefaultRecordBatch(data).validate_crc()
    found = [(each.offset, each.key, each.value, list(each.headers)) for each in DefaultRecordBatch(data)]
    assert found == [(offset, key, value, list(headers)) for offset, (key, value, headers) in enumerate(records)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_large_records_are_written_as_aiokafka_reads_them(compression: str) -> None:
    batch = a_batch(LARGE, compression)
    size = batch.size()
    data = built(batch)
    assert [each.value for each in DefaultRecordBatch(data)] == [value for _, value, _ in LARGE]
    assert (len(data) == size) if compression == "none" else (len(data) < size)


@given(RECORDS)
def test_the_bytes_of_records_are_those_of_aiokafka(records: list[Record]) -> None:
    assert built(a_batch(records))[HEADER_BYTES:] == by_aiokafka(records)[HEADER_BYTES:]


def test_a_batch_carries_the_producers_state_and_stays_the_same_when_it_is_sent_again() -> None:
    batch = a_batch([(b"k", b"v", ())] * 3)
    batch._set_producer_state(1 << 40, 7, 1_000)
    data = built(batch)
    head = DefaultRecordBatch(data)
    assert (head.producer_id, head.producer_epoch, head.base_sequence) == (1 << 40, 7, 1_000)
    assert (head.base_offset, head.next_offset, head.magic, batch.record_count()) == (0, 3, 2, 3)
    assert head.first_timestamp == head.max_timestamp
    assert built(batch) is data


def test_a_batch_takes_no_more_records() -> None:
    batch = a_batch([(b"k", b"v", ())])
    assert batch.closed()
    assert batch.append(key=b"k", value=b"v", timestamp=None, headers=[]) is None  # type: ignore[func-returns-value]
    assert batch.record_count() == 1


def test_what_compression_would_enlarge_is_sent_as_it_is() -> None:
    data = built(a_batch([(None, bytes([1]), ())], "gzip"))
    assert DefaultRecordBatch(data).compression_type == 0


@given(RECORDS, st.integers(0, 2**30), st.lists(st.integers(0, 2**42), min_size=6, max_size=6))
def test_what_aiokafka_writes_is_read_as_aiokafka_reads_it(
    records: list[Record], offset: int, timestamps: list[int]
) -> None:
    data = by_aiokafka(records, offset=offset, timestamps=timestamps)
    assert read(data) == [plain(record) for record in DefaultRecordBatch(data)]


def test_large_records_are_read_as_aiokafka_reads_them() -> None:
    data = by_aiokafka(LARGE)
    assert read(data) == [plain(record) for record in DefaultRecordBatch(data)]


def test_the_brokers_time_replaces_that_of_each_record() -> None:
    data = by_aiokafka([(b"k", b"v", ())] * 3, timestamps=[5, 6, 7])
    assert {(at, type_) for _, at, type_, *_ in read(data, append_timestamp=99)} == {(99, 1)}
    assert [(at, type_) for _, at, type_, *_ in read(data)] == [(5, 0), (6, 0), (7, 0)]


@given(RECORDS, st.data())
def test_bytes_of_any_kind_are_corrupt_or_what_aiokafka_reads(records: list[Record], data: st.DataObject) -> None:
    """Nothing else is raised, however the bytes of a batch came about."""
    sent = bytearray(by_aiokafka(records))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(HEADER_BYTES, len(sent) - 1))
        sent[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        expected = read_in_python(bytes(sent))
    except (CorruptRecordException, ValueError, IndexError):
        expected = None
    try:
        found = read(bytes(sent))
    except CorruptRecordException:
        found = None
    if expected is not None:
        assert found == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x80" * 12,
        b"\x0e\0\0\0\1\1",
        b"\x0e\0\0\0\x7e\1\0\0",
        b"\x10\0\0\0\1\1\0\0",
        b"\x0c\0\0\0\1\1\0\0",
    ],
    ids=["nothing", "no content", "endless number", "too short", "key beyond", "length beyond", "bytes left over"],
)
def test_a_record_that_does_not_end_where_it_should_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptRecordException):
        list(read_records(data, 1, base_offset=0, base_timestamp=0, append_timestamp=None))


@given(HEADERS)
def test_headers_are_a_sequence_of_names_and_contents(headers: list[Header]) -> None:
    found = RecordHeaders(encode_headers(headers))
    assert list(found) == headers
    assert len(found) == len(headers)
    assert found == tuple(headers)
    assert [found[number] for number in range(len(headers))] == headers
    assert encode_headers(found) == encode_headers(headers)


@given(HEADERS, st.text(max_size=70).filter(str.isascii), CONTENTS)
def test_a_header_is_added_behind_the_others(headers: list[Header], name: str, content: bytes | None) -> None:
    found = RecordHeaders(encode_headers(headers)).with_header(encode_header(name, content))
    assert list(found) == [*headers, (name, content)]


def test_names_that_are_not_utf_8_are_passed_on_as_they_are() -> None:
    headers = RecordHeaders(b"\x02\x04\xff\xfe\x02v")
    assert list(headers) == [("\ufffd\ufffd", b"v")]
    assert headers.with_header(encode_header("n", None)).encoded == b"\x04\x04\xff\xfe\x02v\x02n\x01"


@pytest.mark.parametrize(
    "encoded",
    [b"\x02", b"\x01", b"\x02\x01\x00", b"\x02\x02n", b"\x00\x00", b"\x02\x02n\x04c", b"\xfe\xff\xff\xff\x0f"],
    ids=["no header", "-1 headers", "name of -1", "no content", "left over", "content beyond", "very many"],
)
def test_headers_that_cannot_be_decoded_are_corrupt_when_they_are_looked_at(encoded: bytes) -> None:
    headers = RecordHeaders(encoded)
    with pytest.raises(CorruptRecordException):
        list(headers)
