"""Kafka consumer of the validator: polled records in, committable offsets out."""

from collections.abc import Collection

from aiokafka import ConsumerRecord, TopicPartition

from services import topics
from services.chassis.kafka.consumer import Offsets, PartitionsUnavailableError, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.validator.domain.submitted_record import SubmittedRecord
from services.validator.flow import Deps, judge

# Kafka's number of the timestamp type.
LOG_APPEND_TIME = 1
KINDS = {topics.ORDERS_SUBMITTED.name: "orders", topics.RETURNS_SUBMITTED.name: "returns"}


class Worker:
    """Judges the records of each poll."""

    def __init__(self, deps: Deps, dead_letter_limit: DeadLetterLimit) -> None:
        self._deps = deps
        self._dead_letter_limit = dead_letter_limit

    async def handle(self, poll: Poll) -> Offsets:
        """Judge the polled records and return the offsets behind them, every verdict acknowledged.

        Raises `UnavailableError`; `PartitionsUnavailableError` if some partitions wait for a schema of the registry.
        """
        submitted = {tp: [_to_submitted(record) for record in records] for tp, records in poll.items() if records}
        if not submitted:
            return {}
        done = await judge(submitted, self._deps)
        offsets = {tp: poll[tp][count - 1].offset + 1 for tp, count in done.items() if count}
        halted = self._dead_letter_limit.halted
        waiting = [tp for tp, records in submitted.items() if done[tp] < len(records) and tp not in halted]
        if waiting:
            raise PartitionsUnavailableError("the schema registry", waiting, offsets)
        return offsets

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Resume the halted ones among these partitions: another member may try them."""
        self._dead_letter_limit.resume(partitions)


def _to_submitted(record: ConsumerRecord) -> SubmittedRecord:
    return SubmittedRecord(
        KINDS[record.topic],
        record.topic,
        record.partition,
        record.offset,
        record.timestamp,
        record.key,
        record.value,
        record.headers,
        record.timestamp_type == LOG_APPEND_TIME,
    )
