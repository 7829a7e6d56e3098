"""Produces records to Kafka in whole batches, acknowledged by all in-sync replicas."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import ConnectionGroup
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, MessageSizeTooLargeError, ProducerClosed
from aiokafka.protocol.api import Request

from services.chassis.kafka import aiokafka_patches
from services.chassis.kafka.connection_options import connection_options
from services.chassis.kafka.encoded_batch import HEADER_BYTES, EncodedBatch
from services.chassis.kafka.partitioner import partition_for_key
from services.chassis.kafka.pending_batch import PendingBatches
from services.chassis.kafka.record_format import Header, encode_record
from services.chassis.runtime import metrics
from services.chassis.runtime.background import retrieve_exception
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

SENDS = metrics.counter("producer_sends_total", "Batches sent to Kafka.", ["topic", "outcome"])
RECORDS = metrics.counter("producer_records_total", "Records acknowledged by Kafka.", ["topic"])
SECONDS = metrics.histogram("producer_send_seconds", "Time from sending a batch to its acknowledgement.", ["topic"])
RECONNECTS = metrics.counter("producer_reconnects_total", "Reconnections of the Kafka producer after a failed batch.")

MAX_BATCH_BYTES = 8 * 1024 * 1024
_TARGET_BATCH_BYTES = MAX_BATCH_BYTES // 8
RETRY_S = 0.3
_LOG = logger(__name__)

Headers = Sequence[Header]
OnSettled = Callable[[Exception | None], None]
# The future of a batch's acknowledgement, and its number of records.
_Sent = tuple[asyncio.Future[Any], int]


class RecordTooLargeError(ValueError):
    """The records exceed the size of a batch, or the topic's limit: retrying cannot succeed."""


class ProducerRecord(NamedTuple):
    """A record to send; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class _PartitionState:
    """One partition's lock and metric children, looked up once."""

    __slots__ = ("acknowledged", "failed", "lock", "records", "seconds")

    def __init__(self, topic: str) -> None:
        # aiokafka's add_batch wakes all waiters and miscounts their timeouts; one waiter per partition avoids that.
        self.lock = asyncio.Lock()
        self.acknowledged = SENDS.labels(topic, "acknowledged")
        self.failed = SENDS.labels(topic, "failed")
        self.records = RECORDS.labels(topic)
        self.seconds = SECONDS.labels(topic)

    def count_acknowledged(self, records: int, *, took_s: float) -> None:
        self.acknowledged.inc()
        self.records.inc(records)
        self.seconds.observe(took_s)


class Producer:
    """An idempotent producer that reconnects when its sequence is stuck.

    `start` returns at once; until the brokers answer, `ready` is False and every send raises `UnavailableError`. After
    `UnavailableError` the outcome is unknown: the batch may be appended, even a little later, but never twice and
    never in part. After `RecordTooLargeError` it never is.
    """

    def __init__(self, settings: KafkaSettings, *, client_id: str, linger_ms: int = 5) -> None:
        self._settings = settings
        self._client_id = client_id
        self._linger_ms = linger_ms
        self._current: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._partition_states: dict[TopicPartition, _PartitionState] = {}
        self._topics: set[str] = set()
        self._pending = PendingBatches(timeout_s=settings.kafka_send_timeout_s)

    @property
    def ready(self) -> bool:
        """Whether the producer is connected."""
        return self._current is not None

    async def start(self) -> None:
        """Start to connect in the background, until it succeeds."""
        self._connecting = asyncio.create_task(self._connect())

    async def stop(self) -> None:
        """Send buffered records and close."""
        if self._connecting is not None:
            self._connecting.cancel()
            with suppress(asyncio.CancelledError):
                await self._connecting
        current, self._current = self._current, None
        if current is not None:
            await self._close(current)
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait_ready(self, timeout_s: float) -> None:
        """Return when `ready`; raises `UnavailableError` if that takes longer."""
        if self._connecting is not None and not self.ready:
            await asyncio.wait([self._connecting], timeout=timeout_s)
        if not self.ready:
            raise UnavailableError("Kafka")

    async def partitions(self, topic: str) -> int:
        """Return the number of partitions of the topic; raises `UnavailableError`."""
        current = self._producer()
        partitions = current.client.cluster.partitions_for_topic(topic) if topic in self._topics else None
        if not partitions:
            try:
                async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                    # The client drops the metadata of topics that were not added to it.
                    await current.client.add_topic(topic)
                    partitions = await current.partitions_for(topic)
            except (KafkaError, TimeoutError) as error:
                raise UnavailableError("Kafka") from error
            self._topics.add(topic)
        return len(partitions)

    def known_partitions(self, topic: str) -> int | None:
        """Return the number of partitions of the topic if `partitions` would not have to ask for it, else None."""
        if self._current is None or topic not in self._topics:
            return None
        return len(self._current.client.cluster.partitions_for_topic(topic) or ()) or None

    def leader(self, topic: str, partition: int) -> int | None:
        """Return the broker to which batches of the partition are sent; None if it is unknown."""
        if self._current is None:
            return None
        leader: int | None = self._current.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        return leader

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        """Return the key's partition, as Java's default partitioner computes it; raises `UnavailableError`."""
        return partition_for_key(key, await self.partitions(topic))

    async def request(self, request: Request[Any]) -> Any:
        """Return a broker's response to a request other than a batch.

        Raises `UnavailableError`, and `IncompatibleBrokerVersion` if the brokers do not know the request. It has a
        connection of its own: on that of the batches it would wait behind them, and they behind it.
        """
        client = self._producer().client
        try:
            async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                node = client.get_random_node()
                return await client.send(node, request, group=ConnectionGroup.COORDINATION)
        except IncompatibleBrokerVersion:
            raise
        except (KafkaError, TimeoutError) as error:
            raise UnavailableError("Kafka") from error

    async def send(self, topic: str, record: ProducerRecord) -> None:
        """Send one record, partitioned by its key, in a batch with other pending ones. Raises `UnavailableError`."""
        partition = await self.partition_for_key(topic, record.key or b"")
        await self._wait_for_ack(topic, partition, self._send_record(topic, partition, record))

    async def send_batch(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        """Send all records, in order, as one record batch: all are appended or none. Raises `UnavailableError`."""
        await self._wait_for_ack(topic, partition, self._send_batch(topic, partition, records))

    async def send_encoded(self, topic: str, partition: int, records: Sequence[bytes]) -> None:
        """Send records that `encode_record` has encoded as `send_batch` does. Raises `UnavailableError`."""
        await self._wait_for_ack(topic, partition, self._send_encoded(topic, partition, records))

    def send_nowait(self, topic: str, partition: int, records: Sequence[bytes], on_settled: OnSettled) -> None:
        """Send encoded records as `send_batch` does, without a task; the topic's partitions must be known.

        Later `on_settled` is called once, with None or the error. Raises `UnavailableError` if nothing is sent.
        """
        current, state, started_at = self._current, self._partition_state(topic, partition), monotonic()
        batch = EncodedBatch(b"".join(records), len(records), compression=self._settings.kafka_compression)

        def settle(error: BaseException | None) -> None:
            if error is None:
                state.count_acknowledged(len(records), took_s=monotonic() - started_at)
                on_settled(None)
            else:
                state.failed.inc()
                on_settled(self._handle_failure(error, current, topic))

        try:
            sent = aiokafka_patches.append_batch(self._producer(), batch, TopicPartition(topic, partition))
        except (KafkaError, UnavailableError) as error:
            state.failed.inc()
            raise UnavailableError("Kafka") from error
        self._pending.add(sent, settle)

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        """Send records partitioned by their keys, in order within each partition. Raises `UnavailableError`."""
        count = await self.partitions(topic)
        by_partition: list[list[ProducerRecord]] = [[] for _ in range(count)]
        for record in records:
            by_partition[partition_for_key(record.key or b"", count)].append(record)
        sends = [self.send_to(topic, partition, batch) for partition, batch in enumerate(by_partition) if batch]
        if len(sends) == 1:
            await sends[0]
            return
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def send_to(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        """Send records to one partition, in order, in batches of bounded size. Raises `UnavailableError`."""
        sent = 0
        while sent < len(records):
            sent += await self._wait_for_ack(
                topic, partition, self._send_batch(topic, partition, records[sent:], _TARGET_BATCH_BYTES)
            )

    async def _send_record(self, topic: str, partition: int, record: ProducerRecord) -> _Sent:
        sent: asyncio.Future[Any] = await self._producer().send(
            topic, value=record.value, key=record.key, partition=partition, headers=list(record.headers)
        )
        return sent, 1

    async def _send_batch(
        self, topic: str, partition: int, records: Sequence[ProducerRecord], max_bytes: int | None = None
    ) -> _Sent:
        """Send all records in one batch, or as many of the first ones as fit into `max_bytes`."""
        encoded: list[bytes] = []
        size = HEADER_BYTES
        for key, value, headers in records:
            record = encode_record(len(encoded), key, value, headers)
            size += len(record)
            if max_bytes and encoded and size > max_bytes:
                break
            encoded.append(record)
        return await self._send_encoded(topic, partition, encoded)

    async def _send_encoded(self, topic: str, partition: int, records: Sequence[bytes]) -> _Sent:
        current, content = self._producer(), b"".join(records)
        if HEADER_BYTES + len(content) > MAX_BATCH_BYTES and len(records) > 1:
            raise RecordTooLargeError(f"{len(records)} records do not fit into one batch")
        batch = EncodedBatch(content, len(records), compression=self._settings.kafka_compression)
        async with self._partition_state(topic, partition).lock:
            sent: asyncio.Future[Any] = await current.send_batch(batch, topic, partition=partition)
        return sent, len(records)

    async def _wait_for_ack(self, topic: str, partition: int, sending: Awaitable[_Sent]) -> int:
        """Return the number of records once all in-sync replicas have them."""
        state, started_at, current = self._partition_state(topic, partition), monotonic(), self._current
        was_queued = False
        try:
            async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                sent, count = await sending
                was_queued = True
                # The batch is sent even if the caller is cancelled; cancelling the future would corrupt it.
                try:
                    await asyncio.shield(sent)
                finally:
                    if not sent.done():
                        sent.add_done_callback(retrieve_exception)
        except (KafkaError, TimeoutError) as error:
            state.failed.inc()
            raise self._handle_failure(error, current, topic, was_queued=was_queued) from error
        except (UnavailableError, RecordTooLargeError):
            state.failed.inc()
            raise
        state.count_acknowledged(count, took_s=monotonic() - started_at)
        return count

    def _handle_failure(
        self, error: BaseException, used: AIOKafkaProducer | None, topic: str, *, was_queued: bool = True
    ) -> Exception:
        """Reconnect if the sequence of the producer that was used is stuck; return the error of the caller."""
        too_large = isinstance(error, MessageSizeTooLargeError)
        is_fatal = not (isinstance(error, KafkaError) and error.retriable) and not too_large
        # A failed batch has used its sequence numbers, so the broker would reject the next ones. One that was never
        # queued has not, as for a missing topic.
        if was_queued or is_fatal:
            self._reconnect(used)
        if too_large:
            return RecordTooLargeError(f"topic {topic} does not accept a batch of this size")
        return UnavailableError("Kafka")

    def _partition_state(self, topic: str, partition: int) -> _PartitionState:
        key = TopicPartition(topic, partition)
        state = self._partition_states.get(key)
        if state is None:
            state = self._partition_states[key] = _PartitionState(topic)
        return state

    def _producer(self) -> AIOKafkaProducer:
        if self._current is None:
            raise UnavailableError("Kafka")
        return self._current

    def _reconnect(self, stuck: AIOKafkaProducer | None) -> None:
        """Close a producer whose sequence is stuck, once, and connect a new one."""
        if stuck is None or self._current is not stuck:
            return
        _LOG.warning("Kafka producer reconnecting")
        RECONNECTS.inc()
        self._current = None
        # A new context: these tasks outlive the request that found it stuck, and its log context.
        task = asyncio.create_task(self._close(stuck), context=Context())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        self._connecting = asyncio.create_task(self._connect(), context=Context())

    async def _connect(self) -> None:
        while self._current is None:
            try:
                producer = self._create()
            except (ValueError, OSError) as error:
                # For example, a certificate that is being replaced.
                _LOG.error("Kafka producer not created", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            try:
                async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                    await producer.start()
            except Exception as error:  # noqa: BLE001 - for every error, only a retry can help
                _LOG.warning("Kafka unavailable", error=type(error).__name__)
                await self._close(producer)
                await asyncio.sleep(RETRY_S)
            except BaseException:
                await self._close(producer)
                raise
            else:
                self._topics.clear()
                self._current = producer

    def _create(self) -> AIOKafkaProducer:
        compression = self._settings.kafka_compression
        producer = AIOKafkaProducer(
            **connection_options(self._settings),
            client_id=self._client_id,
            enable_idempotence=True,
            acks="all",
            linger_ms=self._linger_ms,
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_BATCH_BYTES,
            compression_type=None if compression == "none" else compression,
            request_timeout_ms=int(self._settings.kafka_send_timeout_s * 1000),
            retry_backoff_ms=100,
        )
        aiokafka_patches.patch_producer(producer)
        return producer

    async def _close(self, producer: AIOKafkaProducer) -> None:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                await producer.stop()
                return
        await _abort(producer)


async def _abort(producer: AIOKafkaProducer) -> None:
    """Abort a producer that cannot flush: its sender would otherwise retry forever."""
    # Buffered batches cannot be sent: their callers get an unknown outcome.
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - aiokafka cannot be closed by force
    sender = producer._sender.sender_task  # noqa: SLF001 - as above
    for _ in range(2):  # the first cancellation waits for requests in flight, the second does not
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait([sender], timeout=0.5)
    with suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(1):
            await producer.client.close()


def to_headers(values: Mapping[str, str | None]) -> tuple[Header, ...]:
    """Return the values that are not None as Kafka headers."""
    return tuple((name, value.encode()) for name, value in values.items() if value is not None)
