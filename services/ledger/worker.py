"""Kafka in: record the sales of each poll, return the offsets that may be committed."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender, dead_positions
from services.ledger import metrics
from services.ledger.flows.record_sales import Deps, record_sales
from services.ledger.ports import EntryTooLargeError
from services.ledger.wire.records import MalformedRecordError, RecordReader
from services.sales.records import Order, SalesRecord

# Records of one transaction, and transactions at the same time: one is stored while another is computed.
PORTION, LANES = 1_000, 4

_ORDERS, _RETURNS = metrics.RECORDS.labels("orders"), metrics.RECORDS.labels("returns")


@dataclass(slots=True)
class _Lane:
    """Records that are recorded one after the other, with where each came from."""

    sources: list[ConsumerRecord] = field(default_factory=list)
    records: list[SalesRecord] = field(default_factory=list)


class Worker:
    """Records the sales of each poll.

    `add_partitions` is called with the partitions that this process has not seen before.
    """

    def __init__(
        self,
        deps: Deps,
        *,
        reader: RecordReader,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
        add_partitions: Callable[[Sequence[str]], Awaitable[None]],
    ) -> None:
        self._deps = deps
        self._reader = reader
        self._dead_letters = dead_letters
        self._dead_letter_limit = dead_letter_limit
        self._add_partitions = add_partitions
        self._known_partitions: set[str] = set()

    async def handle(self, poll: Poll) -> Offsets:
        """Record all sales; every effect before the returned offsets is durable. Raises `UnavailableError`."""
        if not poll:
            return {}
        await self._add_new_partitions(poll)
        lanes = [_Lane() for _ in range(LANES)]
        offsets: dict[TopicPartition, int] = {}
        for partition, records in poll.items():
            # Orders and returns of one key are in partitions of the same number.
            accepted = await self._decode(partition, records, lanes[partition.partition % LANES])
            if accepted:
                offsets[partition] = records[accepted - 1].offset + 1
        results = await asyncio.gather(*map(self._record_lane, lanes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return offsets

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Resume the halted ones among these partitions: another member may try them."""
        self._dead_letter_limit.resume(partitions)

    async def _add_new_partitions(self, poll: Poll) -> None:
        new = {_partition_name(partition) for partition in poll} - self._known_partitions
        if new:
            await self._add_partitions(sorted(new))
            self._known_partitions |= new

    async def _decode(self, partition: TopicPartition, records: Sequence[ConsumerRecord], lane: _Lane) -> int:
        """Add the records to the lane, and dead-letter malformed ones; returns how many were accepted."""
        decoded = [self._read(record) for record in records]
        dead = dead_positions(decoded)
        allowed = self._dead_letter_limit.allowed(partition, len(decoded), dead)
        letters = [each for each in decoded[:allowed] if isinstance(each, DeadLetter)]
        if letters:
            await self._dead_letters.send(letters)
        self._dead_letter_limit.record(partition, len(decoded), dead)
        for source, each in zip(records[:allowed], decoded, strict=False):
            if not isinstance(each, DeadLetter):
                lane.sources.append(source)
                lane.records.append(each)
        return allowed

    def _read(self, record: ConsumerRecord) -> SalesRecord | DeadLetter:
        try:
            return self._reader.read(record.topic, record.value)
        except MalformedRecordError as error:
            return DeadLetter(record, error.reason, error.detail)

    async def _record_lane(self, lane: _Lane) -> None:
        for start in range(0, len(lane.records), PORTION):
            portion = slice(start, start + PORTION)
            await self._record(lane.sources[portion], lane.records[portion])

    async def _record(self, sources: Sequence[ConsumerRecord], records: Sequence[SalesRecord]) -> None:
        """Record a portion; if an order becomes too large, in halves, and dead-letter the records that do not fit."""
        offsets = {_partition_name(source): source.offset + 1 for source in sources}
        try:
            changed = await record_sales(records, self._deps, offsets=offsets)
        except EntryTooLargeError as error:
            if len(records) == 1:
                await self._dead_letters.send([DeadLetter(sources[0], "too-big", str(error))])
                return
            half = len(records) // 2
            await self._record(sources[:half], records[:half])
            await self._record(sources[half:], records[half:])
            return
        self._observe(records, changed)

    def _observe(self, records: Sequence[SalesRecord], changed: int) -> None:
        orders = sum(isinstance(record, Order) for record in records)
        _ORDERS.inc(orders)
        _RETURNS.inc(len(records) - orders)
        metrics.CHANGED.inc(changed)
        if changed:
            now_us = self._deps.now_us()
            oldest = min(record.accepted_at for record in records)
            metrics.VISIBLE_SECONDS.observe(max(now_us - oldest, 0) / 1_000_000)


def _partition_name(source: TopicPartition | ConsumerRecord) -> str:
    return f"{source.topic}|{source.partition}"
