"""Patches aiokafka: it reads batches that would block it forever, as Java's clients do, and handles all its errors.

Brokers check neither header names nor the decompressed size of a batch. aiokafka raises at every attempt to read a
header name that is not UTF-8, which librdkafka may send: here records are read by `record_format`, which accepts it. A
batch that decompresses to too much, or not at all, is replaced by one record with the header `batch.unreadable`. A
poll is bounded in bytes.

Over a closed transport uvloop raises a RuntimeError, where asyncio's own loop raises none: here a connection error, as
aiokafka's tasks expect, which would end by any other.

When connections break, aiokafka leaves exceptions in tasks, futures and callbacks, although every caller gets an error
of its own. The event loop would log them with tracebacks, like defects.
"""

import asyncio
import struct
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.consumer import fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaConnectionError, KafkaError, ProducerClosed
from aiokafka.producer.message_accumulator import MessageBatch
from aiokafka.record.default_records import _DefaultRecordPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from services.chassis.kafka.decompression import DecompressionError, decompress
from services.chassis.kafka.encoded_batch import EncodedBatch
from services.chassis.kafka.record_format import FetchedRecord, read_records
from services.chassis.runtime.background import retrieve_exception
from services.chassis.runtime.logs import logger

# Header of a record that replaces an unreadable batch: the offsets of the batch, and the reason.
UNREADABLE_BATCH_HEADER = "batch.unreadable"
# One fetch may return thousands of batches. Batches beyond this decompressed size are fetched again.
MAX_DECOMPRESSED_PER_FETCH = 32 * 1024 * 1024

# One poll returns records of about this size, from whatever number of partitions: their batches may decompress to
# thousands of times the size that was fetched.
MAX_POLL_BYTES = 8 * 1024 * 1024
# Larger batches count record by record.
_SMALL_BATCH_BYTES = 128 * 1024

_MAGIC_AT = 16
_COUNT = struct.Struct(">i")
_COUNT_AT = 57
_HEAD = 61
_LOG = logger(__name__)


def install() -> None:
    """Patch aiokafka for all consumers of this process."""
    # aiokafka offers no other way to replace the parser.
    fetcher.MemoryRecords = _LenientRecords
    fetcher.FetchResult.getall = _take_records
    fetcher.PartitionRecords._consumer_record = _complete_record  # noqa: SLF001 - as above
    fetcher.Fetcher.fetched_records = _poll
    GroupCoordinator._do_commit_offsets = _commit_in_task  # noqa: SLF001 - as above
    AIOKafkaConnection.send = _send


def patch_producer(producer: AIOKafkaProducer) -> None:
    """Let an idempotent producer fail without exceptions that only the event loop sees."""
    AIOKafkaConnection.send = _send
    MessageBatch.failure = _fail_batch
    # A batch that fails while it waits for a retry is no longer pending, but aiokafka removes it again.
    producer._message_accumulator._pending_batches = _PendingBatches()  # noqa: SLF001 - there is no other way
    # Where a fatal error is reported: aiokafka assumes a transaction.
    waiter = asyncio.get_running_loop().create_future()
    waiter.add_done_callback(retrieve_exception)
    producer._txn_manager._transaction_waiter = waiter  # noqa: SLF001 - as above


def append_batch(producer: AIOKafkaProducer, batch: EncodedBatch, partition: TopicPartition) -> asyncio.Future[Any]:
    """Queue a batch behind those that wait for its partition; return the future of its acknowledgement.

    `send_batch` would first wait until no other batch is queued. Raises `KafkaError`.
    """
    accumulator = producer._message_accumulator  # noqa: SLF001 - there is no other way
    if accumulator._closed or accumulator._exception is not None:  # noqa: SLF001 - as above
        raise ProducerClosed
    acknowledged: asyncio.Future[Any] = accumulator._append_batch(batch, partition).future  # noqa: SLF001 - as above
    return acknowledged


_send_request = AIOKafkaConnection.send


def _send(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
    """Send a request; raise `KafkaConnectionError` when the transport is closed already."""
    try:
        return _send_request(connection, *arguments, **options)
    except (KafkaError, NotImplementedError):
        # RuntimeErrors too, such as of brokers that are too old: nothing has been written.
        raise
    except RuntimeError as error:
        connection.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"the connection to {connection.host}:{connection.port} is closed") from error


_do_commit_offsets = GroupCoordinator._do_commit_offsets  # noqa: SLF001 - as above


def _commit_in_task(coordinator: GroupCoordinator, *arguments: Any) -> "asyncio.Task[None]":
    """Commit in a task that may outlive its caller, which shields it and has a timeout."""
    task: asyncio.Task[None] = asyncio.ensure_future(_do_commit_offsets(coordinator, *arguments))
    task.add_done_callback(retrieve_exception)
    return task


_failure = MessageBatch.failure


def _fail_batch(batch: MessageBatch, exception: BaseException) -> None:
    """Fail all futures of a batch: some callers have given up, and often none waits until it is drained."""
    _failure(batch, exception)
    message_futures = [future for future, _ in batch._msg_futures]  # noqa: SLF001 - as above
    for future in (batch.future, batch._drain_waiter, *message_futures):  # noqa: SLF001 - as above
        retrieve_exception(future)


class _PendingBatches(set[Any]):
    """A set from which something may be removed twice."""

    def remove(self, element: Any) -> None:
        self.discard(element)


@dataclass
class _PollBudget:
    """The bytes that a poll may still return."""

    remaining: int


# Each poll has its own, so a consumer takes nothing from another's.
_BUDGET: ContextVar[_PollBudget | None] = ContextVar("poll budget", default=None)
_fetched_records = fetcher.Fetcher.fetched_records


async def _poll(consumer_fetcher: fetcher.Fetcher, *arguments: Any, **options: Any) -> Any:
    """Return fetched records of all partitions, as `getmany` does, and no more than the poll's bytes."""
    _BUDGET.set(_PollBudget(MAX_POLL_BYTES))
    return await _fetched_records(consumer_fetcher, *arguments, **options)


def _take_records(result: fetcher.FetchResult, max_records: int | None = None) -> list[Any]:
    """Return the next records of one partition. Those beyond the poll's bytes stay for the next poll."""
    records: list[Any] = []
    budget = _BUDGET.get() or _PollBudget(MAX_POLL_BYTES)
    partition = result._topic_partition  # noqa: SLF001 - there is no other way
    if not result.check_assignment(partition) or not result.has_more() or budget.remaining <= 0:
        return records
    for record in result._partition_records:  # noqa: SLF001 - as above
        records.append(record)
        if budget.remaining <= 0 or len(records) == max_records:
            result._update_position()  # noqa: SLF001 - as above
            return records
    result._update_position()  # noqa: SLF001 - as above
    result._partition_records = None  # noqa: SLF001 - as above
    return records


_consumer_record = fetcher.PartitionRecords._consumer_record  # noqa: SLF001 - as above


def _complete_record(records: fetcher.PartitionRecords, partition: TopicPartition, record: Any) -> Any:
    """Return a record of a partition as the consumer gets it."""
    if type(record) is not FetchedRecord:
        return _consumer_record(records, partition, record)
    record.topic, record.partition = partition
    return record


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc] # declared final, but the only way in
    """The record batches of one partition in a fetch response."""

    decompressed_bytes = 0

    def has_next(self) -> bool:
        return super().has_next() and self.decompressed_bytes < MAX_DECOMPRESSED_PER_FETCH

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return None if batch is None or data is None else _LenientBatch(batch, data, self)


class _LenientBatch:
    """A batch that is decompressed with a bound, and whose records are read without aiokafka's reader."""

    def __init__(self, batch: Any, data: memoryview, records: _LenientRecords) -> None:
        self._batch = batch
        self._data = data
        self._records = records

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        if self._data[_MAGIC_AT] < 2:
            _charge_poll(len(self._data))
            yield from self._batch
            return
        codec, data = self._batch.compression_type, self._data[_HEAD:]
        try:
            content = bytes(decompress(codec, data) if codec else data)
        except DecompressionError as error:
            yield self._unreadable(str(error))
            return
        if codec:
            self._records.decompressed_bytes += _HEAD + len(content)
        yield from self._read(content)

    def _read(self, content: bytes) -> Iterator[FetchedRecord]:
        """Yield the records, and charge their bytes to the poll that takes them."""
        batch, size = self._batch, _HEAD + len(content)
        (count,) = _COUNT.unpack_from(self._data, _COUNT_AT)
        records = read_records(
            content,
            count,
            base_offset=batch.base_offset,
            base_timestamp=batch.first_timestamp,
            append_timestamp=batch.max_timestamp if batch.timestamp_type else None,
        )
        if size <= _SMALL_BATCH_BYTES:
            _charge_poll(size)
            yield from records
            return
        for record in records:
            _charge_poll(size // max(count, 1) + 1)
            yield record

    def _unreadable(self, reason: str) -> Any:
        """Return one record that replaces the batch: its value is the compressed data, its offset the last one."""
        first, last = self.base_offset, self.next_offset - 1
        _LOG.error("record batch skipped", first_offset=first, last_offset=last, reason=reason)
        header = f"offsets {first} to {last}: {reason}"
        value = bytes(self._data[_HEAD:])
        return _DefaultRecordPy(
            last, self.max_timestamp, self.timestamp_type, None, value, [(UNREADABLE_BATCH_HEADER, header.encode())]
        )


def _charge_poll(size: int) -> None:
    budget = _BUDGET.get()
    if budget is not None:
        budget.remaining -= size
