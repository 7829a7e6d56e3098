"""Batches of encoded records, in the form in which aiokafka's producer takes them."""

import struct
from collections.abc import Callable, Mapping
from time import time

from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.record.util import calc_crc32c

# From the base offset, which the broker sets, to the checksum; and what the checksum covers, up to the records.
_HEAD = struct.Struct(">qiibI")
_CHECKED = struct.Struct(">hiqqqhii")
HEADER_BYTES = _HEAD.size + _CHECKED.size
_AFTER_LENGTH = struct.calcsize(">qi")
_MAGIC = 2
_NO_EPOCH = -1

# Kafka's number of each compression, and what does it.
_CODECS: Mapping[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (0, bytes),
    "gzip": (1, gzip_encode),
    "snappy": (2, snappy_encode),
    "lz4": (3, lz4_encode),
    "zstd": (4, zstd_encode),
}


class EncodedBatch:
    """Takes the place of the batch that aiokafka's `create_batch` returns; it is complete, and takes no more records.

    `records` are those of `record_format.encode_record`. `compression` is the name of a codec, or `none`.
    """

    def __init__(self, records: bytes, count: int, *, compression: str) -> None:
        self.records = records
        self._count = count
        self._compression = compression
        self._timestamp_ms = int(time() * 1000)
        self._sequence = (-1, -1, 0)
        self._built: bytes | None = None

    def append(self, **_: object) -> None:
        """Refuse a record: the batch is closed."""

    def close(self) -> None:
        """Do nothing: the batch is closed."""

    def closed(self) -> bool:
        """Return True."""
        return True

    def record_count(self) -> int:
        """Return the number of records."""
        return self._count

    def size(self) -> int:
        """Return the number of bytes before compression."""
        return HEADER_BYTES + len(self.records)

    def _set_producer_state(self, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        self._sequence = (producer_id, producer_epoch, base_sequence)

    def _build(self) -> bytes:
        """Return the bytes of the batch, built when they are sent first: a retry sends the same."""
        if self._built is None:
            self._built = self._encode()
            self.records = b""
        return self._built

    def _encode(self) -> bytes:
        codec, compress = _CODECS[self._compression]
        content = compress(self.records)
        if len(content) >= len(self.records):
            codec, content = 0, self.records
        at, count = self._timestamp_ms, self._count
        checked = _CHECKED.pack(codec, count - 1, at, at, *self._sequence, count) + content
        length = HEADER_BYTES - _AFTER_LENGTH + len(content)
        return _HEAD.pack(0, length, _NO_EPOCH, _MAGIC, calc_crc32c(checked)) + checked
