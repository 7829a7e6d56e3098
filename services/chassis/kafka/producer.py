"""Records to Kafka: whole batches, acknowledged by all in-sync replicas, or `Away`."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from time import monotonic
from typing import Any, NamedTuple, Self

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed
from aiokafka.helpers import create_ssl_context

from services.chassis.kafka.partitioner import partition_for_key
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.settings import KafkaSettings

SENDS = metrics.counter("producer_sends_total", "Batches handed to Kafka.", ["topic", "outcome"])
RECORDS = metrics.counter("producer_records_total", "Records acknowledged by Kafka.", ["topic"])
SECONDS = metrics.histogram("producer_send_seconds", "From handing a batch over to its acknowledgement.", ["topic"])
RECONNECTS = metrics.counter("producer_reconnects_total", "Times the Kafka producer had to be replaced.")

MAX_BATCH_BYTES = 8 * 1024 * 1024
_TARGET_BATCH_BYTES = MAX_BATCH_BYTES // 8
RETRY_S = 0.3
_LOG = logger(__name__)

# The content of a header may be None, whatever aiokafka says.
Headers = tuple[tuple[str, bytes | None], ...]
# What tells of the acknowledgement of a batch, and how many records are in it.
_Sent = tuple[asyncio.Future[Any], int]


class RecordTooLargeError(ValueError):
    """The records do not fit into one batch, or the topic takes none of that size: trying again cannot help."""


class ProducerRecord(NamedTuple):
    """One record to be sent; a value of None is a tombstone."""

    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every Kafka client is told about reaching the brokers."""
    secured = settings.kafka_security_protocol in ("SSL", "SASL_SSL")
    password = settings.kafka_sasl_password
    return {
        "bootstrap_servers": settings.kafka_bootstrap_servers,
        "security_protocol": settings.kafka_security_protocol,
        "ssl_context": create_ssl_context(
            cafile=settings.kafka_ssl_cafile,
            certfile=settings.kafka_ssl_certfile,
            keyfile=settings.kafka_ssl_keyfile,
        )
        if secured
        else None,
        "sasl_mechanism": settings.kafka_sasl_mechanism,
        "sasl_plain_username": settings.kafka_sasl_username,
        "sasl_plain_password": password.get_secret_value() if password else None,
    }


class _PartitionState:
    """One partition's turn and metric children, looked up once."""

    __slots__ = ("acknowledged", "failed", "records", "seconds", "turn")

    def __init__(self, topic: str) -> None:
        # aiokafka's add_batch wakes every waiter and counts its time-out wrongly: one waiter a partition avoids it.
        self.turn = asyncio.Lock()
        self.acknowledged = SENDS.labels(topic, "acknowledged")
        self.failed = SENDS.labels(topic, "failed")
        self.records = RECORDS.labels(topic)
        self.seconds = SECONDS.labels(topic)


class Producer:
    """An idempotent producer that replaces itself when its sequence is stuck.

    `start` returns at once; until the brokers answer, `ready` is False and every send raises `Away`. After `Away` the
    records may or may not be in Kafka, or get there a little later, never twice and never in part. `TooLarge` means
    that they are not there and never will be.
    """

    def __init__(self, settings: KafkaSettings, *, client_id: str, linger_ms: int = 5) -> None:
        self._settings = settings
        self._client_id = client_id
        self._linger_ms = linger_ms
        self._current: AIOKafkaProducer | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retiring: set[asyncio.Task[None]] = set()
        self._lanes: dict[TopicPartition, _PartitionState] = {}
        self._topics: set[str] = set()

    @property
    def ready(self) -> bool:
        """Whether the brokers answered and the producer is not being replaced."""
        return self._current is not None

    async def start(self) -> None:
        """Begin to connect, in the background, until it succeeds."""
        self._connecting = asyncio.create_task(self._connect())

    async def stop(self) -> None:
        """Send what is buffered and close."""
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
        """Return when `ready`; raises `Away` if it takes longer."""
        if self._connecting is not None and not self.ready:
            await asyncio.wait([self._connecting], timeout=timeout_s)
        if not self.ready:
            raise UnavailableError("Kafka")

    async def partitions(self, topic: str) -> int:
        """How many partitions the topic has; raises `Away`."""
        current = self._producer()
        found = current.client.cluster.partitions_for_topic(topic) if topic in self._topics else None
        if not found:
            try:
                async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                    # What is not named is forgotten as soon as any other topic is.
                    await current.client.add_topic(topic)
                    found = await current.partitions_for(topic)
            except (KafkaError, TimeoutError) as error:
                raise UnavailableError("Kafka") from error
            self._topics.add(topic)
        return len(found)

    async def partition_for_key(self, topic: str, key: bytes) -> int:
        """The partition that Java's default partitioner picks for the key."""
        return partition_for_key(key, await self.partitions(topic))

    async def send(self, topic: str, record: ProducerRecord) -> None:
        """One record, partitioned by its key, sharing a batch with others that are waiting. Raises `Away`."""
        partition = await self.partition_for_key(topic, record.key or b"")
        await self._acknowledged(topic, partition, self._one(topic, partition, record))

    async def send_batch(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        """All records, in order, as one record batch: all of them are appended or none. Raises `Away`."""
        await self._acknowledged(topic, partition, self._batch(topic, partition, records))

    async def send_by_key(self, topic: str, records: Iterable[ProducerRecord]) -> None:
        """Records partitioned by their keys, in order within each partition. Raises `Away`."""
        count = await self.partitions(topic)
        lots: dict[int, list[ProducerRecord]] = {}
        for record in records:
            lots.setdefault(partition_for_key(record.key or b"", count), []).append(record)
        sends = [self.send_to(topic, partition, lot) for partition, lot in lots.items()]
        if len(sends) == 1:
            await sends[0]
            return
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def send_to(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        """Records to one partition, in order, in batches of bounded size. Raises `Away`."""
        sent = 0
        while sent < len(records):
            sent += await self._acknowledged(
                topic, partition, self._batch(topic, partition, records[sent:], _TARGET_BATCH_BYTES)
            )

    async def _one(self, topic: str, partition: int, record: ProducerRecord) -> _Sent:
        sent: asyncio.Future[Any] = await self._producer().send(
            topic, value=record.value, key=record.key, partition=partition, headers=list(record.headers)
        )
        return sent, 1

    async def _batch(
        self, topic: str, partition: int, records: Sequence[ProducerRecord], most: int | None = None
    ) -> _Sent:
        """All records in one batch, or as many of the first ones as take `most` bytes."""
        current = self._producer()
        builder, count = current.create_batch(), 0
        for record in records:
            key, value, headers = record
            size = builder.size()
            # Weighed only where it may matter: nearly all that is heavy is in the value.
            if most and count and size + len(value or b"") > most // 2 and size + _estimated_size(record) > most:
                break
            added = builder.append(key=key, value=value, timestamp=None, headers=list(headers))
            if most and count and (added is None or builder.size() > most):
                # Heavy by its key or headers, and what was appended stays: the batch is made anew, without it.
                return await self._batch(topic, partition, records[:count])
            if added is None:
                raise RecordTooLargeError(f"{len(records)} records do not fit into one batch")
            count += 1
        builder.close()
        async with self._partition_state(topic, partition).turn:
            sent: asyncio.Future[Any] = await current.send_batch(builder, topic, partition=partition)
        return sent, count

    async def _acknowledged(self, topic: str, partition: int, sending: Awaitable[_Sent]) -> int:
        """How many records that was, once all in-sync replicas have them."""
        lane, began, current = self._partition_state(topic, partition), monotonic(), self._current
        underway = False
        try:
            async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                sent, count = await sending
                underway = True
                # The record goes on its way whatever becomes of the caller; cancelling it would corrupt the batch.
                await asyncio.shield(sent)
        except (KafkaError, TimeoutError) as error:
            lane.failed.inc()
            too_large = isinstance(error, MessageSizeTooLargeError)
            # A batch that failed has used up its sequence numbers: those after it would be refused. One that was never
            # queued has not, as with a topic that is not there.
            if underway or isinstance(error, TimeoutError) or not (error.retriable or too_large):
                self._reconnect(current)
            if too_large:
                raise RecordTooLargeError(f"topic {topic} takes no batch of this size") from error
            raise UnavailableError("Kafka") from error
        except (UnavailableError, RecordTooLargeError):
            lane.failed.inc()
            raise
        lane.acknowledged.inc()
        lane.records.inc(count)
        lane.seconds.observe(monotonic() - began)
        return count

    def _partition_state(self, topic: str, partition: int) -> _PartitionState:
        place = TopicPartition(topic, partition)
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = _PartitionState(topic)
        return lane

    def _producer(self) -> AIOKafkaProducer:
        if self._current is None:
            raise UnavailableError("Kafka")
        return self._current

    def _reconnect(self, stuck: AIOKafkaProducer | None) -> None:
        """Retire a producer whose sequence cannot go on, once, and connect anew."""
        if stuck is None or self._current is not stuck:
            return
        _LOG.warning("the Kafka producer is replaced")
        RECONNECTS.inc()
        self._current = None
        # A request found it stuck; what follows is no part of that request, nor are its log lines.
        task = asyncio.create_task(self._close(stuck), context=Context())
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)
        self._connecting = asyncio.create_task(self._connect(), context=Context())

    async def _connect(self) -> None:
        while self._current is None:
            try:
                fresh = self._fresh()
            except (ValueError, OSError) as error:
                # A certificate that is being replaced, for one.
                _LOG.error("the Kafka producer cannot be made", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            try:
                async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                    await fresh.start()
            except Exception as error:  # noqa: BLE001 - whatever it is, only trying again can help
                _LOG.warning("Kafka does not answer", error=type(error).__name__)
                await self._close(fresh)
                await asyncio.sleep(RETRY_S)
            except BaseException:
                await self._close(fresh)
                raise
            else:
                self._topics.clear()
                self._current = fresh

    def _fresh(self) -> AIOKafkaProducer:
        compression = self._settings.kafka_compression
        return AIOKafkaProducer(
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

    async def _close(self, producer: AIOKafkaProducer) -> None:
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(self._settings.kafka_send_timeout_s):
                await producer.stop()
                return
        await _abort(producer)


async def _abort(producer: AIOKafkaProducer) -> None:
    """End a producer that cannot flush. Left alone, its sender would try for ever, reconnecting as it goes."""
    # What is still buffered cannot be sent: its callers are told that the outcome is unknown.
    producer._message_accumulator.fail_all(ProducerClosed())  # noqa: SLF001 - aiokafka has no way to give up
    sender = producer._sender.sender_task  # noqa: SLF001 - likewise
    for _ in range(2):  # told once it waits for requests in flight; told twice it does not
        if sender is not None and not sender.done():
            sender.cancel()
            await asyncio.wait([sender], timeout=0.5)
    with suppress(KafkaError, TimeoutError, OSError):
        async with asyncio.timeout(1):
            await producer.client.close()


def _estimated_size(record: ProducerRecord) -> int:
    weight = len(record.value or b"") + len(record.key or b"") + 64
    for name, value in record.headers:
        weight += len(name) + len(value or b"") + 8
    return weight


def to_headers(pairs: Mapping[str, str | None]) -> Headers:
    """Kafka headers of the values that are there."""
    return tuple((name, value.encode()) for name, value in pairs.items() if value is not None)
