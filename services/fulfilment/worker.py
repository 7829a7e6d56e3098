"""Kafka consumer handler: fulfils each transaction when its event arrives."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender, dead_positions
from services.fulfilment.flows.single_flight import run_all
from services.fulfilment.wire.events import EventCodec


@dataclass(frozen=True, slots=True)
class Worker:
    """Calls `fulfil` once for every placed transaction; the sweeper takes care of those that stay pending."""

    fulfil: Callable[[str], Awaitable[object]]
    codec: EventCodec
    dead_letters: DeadLetterSender
    dead_letter_limit: DeadLetterLimit

    async def handle(self, poll: Poll) -> Offsets:
        """Process the poll and return the offsets to commit; raises `UnavailableError`."""
        decoded = {tp: [self._decode(record) for record in records] for tp, records in poll.items() if records}
        allowed = {
            tp: self.dead_letter_limit.allowed(tp, len(items), dead_positions(items)) for tp, items in decoded.items()
        }
        accepted = [item for tp, items in decoded.items() for item in items[: allowed[tp]]]
        letters = [item for item in accepted if isinstance(item, DeadLetter)]
        if letters:
            await self.dead_letters.send(letters)
        await run_all(self.fulfil, dict.fromkeys(item for item in accepted if isinstance(item, str)))
        for tp, items in decoded.items():
            self.dead_letter_limit.record(tp, len(items), dead_positions(items))
        return {tp: poll[tp][count - 1].offset + 1 for tp, count in allowed.items() if count}

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget that the partitions were halted; nothing of them is buffered between polls."""
        self.dead_letter_limit.resume(partitions)

    def _decode(self, record: ConsumerRecord) -> str | DeadLetter:
        try:
            return self.codec.decode_placed_id(record.value)
        except ValueError as error:
            return DeadLetter(record, "undecodable", str(error))
