"""Records whose headers are not named in UTF-8.

Brokers do not look at names, and librdkafka sends any bytes. aiokafka raises at such a name, each time it comes to it,
and so would never get beyond the record. Here it is read as Java's clients do: with U+FFFD for what is no UTF-8.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


def read_any_name() -> None:
    """From now on, all consumers of this process read records whatever their headers are called."""
    # aiokafka has no way to be told how to read.
    fetcher.MemoryRecords = _Records


class _Records(_MemoryRecordsPy):  # type: ignore[misc] # final, yet there is no other way in
    """The record batches that one fetch brought of a partition."""

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return None if batch is None or data is None else _Batch(batch, data)


class _Batch:
    """A batch that is read again, slowly, where the quick way ends at a name."""

    def __init__(self, quick: Any, data: memoryview) -> None:
        self._quick = quick
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._quick, name)

    def __next__(self) -> Any:
        return next(self._quick)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._quick
        except UnicodeDecodeError:
            # Those that were read already come again; the fetcher passes over what is behind its position.
            slow = _DefaultRecordBatchPy(self._data)
            slow._maybe_uncompress()  # noqa: SLF001 - what it reads from must be in place before it reads
            slow._buffer = _Bytes(slow._buffer)  # noqa: SLF001 - likewise
            yield from slow


class _Bytes(bytearray):
    """Bytes whose slices are texts, whatever is in them."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Name(found) if isinstance(at, slice) else found


class _Name(bytearray):
    def decode(self, *_: Any) -> str:
        return bytes(self).decode("utf-8", "replace")
