"""Kafka's format of records in a batch (version 2), read and written with as little work a record as can be.

Of a record that is read, the headers are decoded only when they are looked at; a record that is passed on takes them
along as they are. aiokafka's own reader and writer make a tuple and a text of each header of each record (ADR 17).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, overload

from aiokafka.errors import CorruptRecordException
from msgspec import Struct

Header = tuple[str, bytes | None]

LOG_APPEND_TIME = 1
_MAX_BITS = 70


class _Varints(dict[int, bytes]):
    """The zigzag varints of small numbers; others are encoded when asked for, and not kept."""

    def __missing__(self, number: int) -> bytes:
        rest = number << 1 ^ number >> 63
        encoded = bytearray()
        while rest > 127:
            encoded.append(rest & 127 | 128)
            rest >>= 7
        encoded.append(rest)
        return bytes(encoded)


VARINTS = _Varints()
VARINTS.update((number, VARINTS[number]) for number in range(-1, 4096))
# What precedes the offset: no attributes, and the timestamp of the batch.
_HEAD = b"\0\0"


class RecordHeaders(Sequence[Header]):
    """The headers of a record, as they are `encoded`: their number, and of each its name and its content.

    Bytes of a name that are not UTF-8, which librdkafka may send, become U+FFFD. Raises `CorruptRecordException` when
    it is looked at, if it cannot be decoded.
    """

    __slots__ = ("_decoded", "encoded")

    def __init__(self, encoded: bytes) -> None:
        self.encoded = encoded
        self._decoded: tuple[Header, ...] | None = None

    def with_header(self, encoded: bytes) -> "RecordHeaders":
        """Return these headers and one more, which `encode_header` has encoded."""
        own = self.encoded
        count, position = (own[0] >> 1, 1) if own[0] < 128 else _read_varint(own, 0)
        return RecordHeaders(b"".join((VARINTS[count + 1], own[position:], encoded)))

    @overload
    def __getitem__(self, index: int) -> Header: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Header, ...]: ...
    def __getitem__(self, index: int | slice) -> Header | tuple[Header, ...]:
        return self._headers[index]

    def __iter__(self) -> Iterator[Header]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._headers == tuple(other)

    def __hash__(self) -> int:
        return hash(self._headers)

    def __repr__(self) -> str:
        return repr(self._headers)

    @property
    def _headers(self) -> tuple[Header, ...]:
        if self._decoded is None:
            try:
                self._decoded = _decode_headers(self.encoded)
            except (IndexError, ValueError):
                _raise_corrupt()
        return self._decoded


class FetchedRecord(Struct, gc=False):
    """A record as read from a partition: the attributes of aiokafka's `ConsumerRecord` that are not deprecated."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: RecordHeaders


def encode_header(name: str, content: bytes | None) -> bytes:
    """Encode one header."""
    encoded = name.encode()
    length = VARINTS[-1 if content is None else len(content)]
    return b"".join((VARINTS[len(encoded)], encoded, length, content or b""))


def encode_headers(headers: Sequence[Header]) -> bytes:
    """Encode headers in the form of `RecordHeaders`."""
    return b"".join([VARINTS[len(headers)], *[encode_header(name, content) for name, content in headers]])


def encode_record(offset: int, key: bytes | None, value: bytes | None, headers: Sequence[Header] | bytes) -> bytes:
    """Encode a record of a batch; `offset` is its position in the batch, headers may be encoded already."""
    if not isinstance(headers, bytes):
        headers = headers.encoded if type(headers) is RecordHeaders else encode_headers(headers)
    body = b"".join(
        (
            _HEAD,
            VARINTS[offset],
            VARINTS[-1 if key is None else len(key)],
            key or b"",
            VARINTS[-1 if value is None else len(value)],
            value or b"",
            headers,
        )
    )
    return VARINTS[len(body)] + body


def read_records(
    data: bytes, count: int, *, base_offset: int, base_timestamp: int, append_timestamp: int | None
) -> Iterator[FetchedRecord]:
    """Yield the records of a batch, whose topic and partition the caller sets; `data` is what follows its header.

    With an `append_timestamp`, all records have that one. Raises `CorruptRecordException`.
    """
    timestamp_type = 0 if append_timestamp is None else LOG_APPEND_TIME
    size, position = len(data), 0
    try:
        for _ in range(count):
            length, position = _read_varint(data, position)
            end = position + length
            # The attributes are not used. What follows is nearly always of one byte.
            position += 1
            if (delta := data[position]) < 128:
                delta, position = delta >> 1 ^ -(delta & 1), position + 1
            else:
                delta, position = _read_varint(data, position)
            if (offset := data[position]) < 128:
                offset, position = offset >> 1 ^ -(offset & 1), position + 1
            else:
                offset, position = _read_varint(data, position)
            if (length := data[position]) < 128:
                length, position = length >> 1 ^ -(length & 1), position + 1
            else:
                length, position = _read_varint(data, position)
            begin, position = position, position + max(length, 0)
            key = None if length < 0 else data[begin:position]
            length, position = _read_varint(data, position)
            begin, position = position, position + max(length, 0)
            value = None if length < 0 else data[begin:position]
            if not position < end <= size:
                _raise_corrupt()
            yield FetchedRecord(
                "",
                -1,
                base_offset + offset,
                base_timestamp + delta if append_timestamp is None else append_timestamp,
                timestamp_type,
                key,
                value,
                RecordHeaders(data[position:end]),
            )
            position = end
    except (IndexError, ValueError):
        _raise_corrupt()
    if position != size:
        _raise_corrupt()


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    rest = data[position]
    position += 1
    if rest > 127:
        byte = data[position]
        position += 1
        rest = rest & 127 | (byte & 127) << 7
        shift = 14
        while byte > 127:
            byte = data[position]
            position += 1
            rest |= (byte & 127) << shift
            shift += 7
            if shift > _MAX_BITS:
                raise ValueError("a number is too long")
    return rest >> 1 ^ -(rest & 1), position


def _decode_headers(data: bytes) -> tuple[Header, ...]:
    count, position = _read_varint(data, 0)
    if not 0 <= count <= len(data):
        raise ValueError("not a number of headers")
    headers: list[Header] = []
    for _ in range(count):
        length, position = _read_varint(data, position)
        if length < 0:
            raise ValueError("not a length of a name")
        name = data[position : position + length].decode("utf-8", "replace")
        position += length
        length, position = _read_varint(data, position)
        content = None if length < 0 else data[position : position + length]
        position += max(length, 0)
        headers.append((name, content))
    if position != len(data):
        raise ValueError("bytes are left over")
    return tuple(headers)


def _raise_corrupt(*_: Any) -> NoReturn:
    raise CorruptRecordException("a record of a batch cannot be read")
