"""Record batches as Java's clients read them, where aiokafka would get no further.

Brokers do not look at the names of headers, and librdkafka sends any bytes. aiokafka raises at a name that is not
UTF-8, each time it comes to it, and so would never get beyond the record. Here it is read with U+FFFD for what is no
UTF-8. Nor do they look at how much is in a batch: of one that holds too much, or cannot be inflated, one record tells.
"""

import struct
from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy, _DefaultRecordPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from services.chassis.kafka.decompression import DecompressionError, decompress
from services.chassis.runtime.logs import logger

# The header that says of which batch a record stands in place, and why.
UNREADABLE_BATCH_HEADER = "batch.unreadable"
# One fetch may bring thousands of batches. What comes behind so many inflated bytes is fetched again.
MAX_DECOMPRESSED_PER_FETCH = 32 * 1024 * 1024

_MAGIC_AT = 16
_ATTRIBUTES = struct.Struct(">h")
_ATTRIBUTES_AT = 21
_CODEC = 0x07
_HEAD = 61
_LOG = logger(__name__)


def install() -> None:
    """From now on, no consumer of this process is kept from going on by what is in a batch."""
    # aiokafka has no way to be told how to read.
    fetcher.MemoryRecords = _LenientRecords


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # final, yet there is no other way in
    """The record batches that one fetch brought of a partition."""

    inflated = 0

    def has_next(self) -> bool:
        return super().has_next() and self.inflated < MAX_DECOMPRESSED_PER_FETCH

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return None if batch is None or data is None else _LenientBatch(batch, data, self)


class _LenientBatch:
    """A batch that is inflated here, and read again, slowly, where the quick way ends at a name."""

    def __init__(self, quick: Any, data: memoryview, of: _LenientRecords) -> None:
        self._quick = quick
        self._data = data
        self._of = of

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quick, name)

    def __next__(self) -> Any:
        return next(self._quick)

    def __iter__(self) -> Iterator[Any]:
        if self._data[_MAGIC_AT] >= 2 and self._quick.compression_type:
            try:
                self._data = _plain(self._data)
            except DecompressionError as reason:
                yield self._unreadable(str(reason))
                return
            self._quick = DefaultRecordBatch(self._data)
            self._of.inflated += len(self._data)
        try:
            yield from self._quick
        except UnicodeDecodeError:
            # Those that were read already come again; the fetcher passes over what is behind its position.
            slow = _DefaultRecordBatchPy(self._data)
            slow._buffer = _LenientBuffer(slow._buffer)  # noqa: SLF001 - what it reads from
            yield from slow

    def _unreadable(self, reason: str) -> Any:
        """One record in place of all: the batch as it came, which is no value of ours, at the last one's offset."""
        first, last = self.base_offset, self.next_offset - 1
        _LOG.error("a batch is not read", first_offset=first, last_offset=last, reason=reason)
        told = f"offsets {first} to {last}: {reason}"
        value = bytes(self._data[_HEAD:])
        return _DefaultRecordPy(
            last, self.max_timestamp, self.timestamp_type, None, value, [(UNREADABLE_BATCH_HEADER, told.encode())]
        )


def _plain(data: memoryview) -> memoryview:
    """The batch as it would be without compression. Its checksum was looked at before."""
    plain = bytearray(data[:_HEAD])
    (attributes,) = _ATTRIBUTES.unpack_from(plain, _ATTRIBUTES_AT)
    _ATTRIBUTES.pack_into(plain, _ATTRIBUTES_AT, attributes & ~_CODEC)
    plain += decompress(attributes & _CODEC, data[_HEAD:])
    return memoryview(plain)


class _LenientBuffer(bytearray):
    """Bytes whose slices are texts, whatever is in them."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientHeaderName(found) if isinstance(at, slice) else found


class _LenientHeaderName(bytearray):
    def decode(self, *_: Any) -> str:
        return bytes(self).decode("utf-8", "replace")
