"""Handler of polls whose records are decoded one by one and applied together."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import Generic, TypeVar

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender, dead_positions

Decoded = TypeVar("Decoded")


class DecodingHandler(ABC, Generic[Decoded]):
    """Decodes the records of each poll and applies what they hold; records that cannot be decoded are dead-lettered.

    A partition with too many of these is halted before the first one too many.
    """

    def __init__(self, *, dead_letters: DeadLetterSender, dead_letter_limit: DeadLetterLimit) -> None:
        self._dead_letters = dead_letters
        self._dead_letter_limit = dead_letter_limit

    @abstractmethod
    def decode(self, record: ConsumerRecord) -> Decoded:
        """Return what the record holds; raises `ValueError`."""

    @abstractmethod
    async def apply(self, decoded: Sequence[Decoded]) -> None:
        """Return once the effects are durable; raises `UnavailableError`, and may then be repeated."""

    async def handle(self, poll: Poll) -> Offsets:
        """Process the poll and return the offsets to commit; raises `UnavailableError`."""
        decoded = {tp: [self._decode(record) for record in records] for tp, records in poll.items() if records}
        allowed = {
            tp: self._dead_letter_limit.allowed(tp, len(items), dead_positions(items)) for tp, items in decoded.items()
        }
        accepted = [item for tp, items in decoded.items() for item in items[: allowed[tp]]]
        letters = [item for item in accepted if isinstance(item, DeadLetter)]
        # First: it changes nothing when it is repeated, while dead letters that are sent again appear twice.
        await self.apply([item for item in accepted if not isinstance(item, DeadLetter)])
        if letters:
            await self._dead_letters.send(letters)
        for tp, items in decoded.items():
            self._dead_letter_limit.record(tp, len(items), dead_positions(items))
        return {tp: poll[tp][count - 1].offset + 1 for tp, count in allowed.items() if count}

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget that the partitions were halted; nothing of them is buffered between polls."""
        self._dead_letter_limit.resume(partitions)

    def _decode(self, record: ConsumerRecord) -> Decoded | DeadLetter:
        try:
            return self.decode(record)
        except ValueError as error:
            return DeadLetter(record, "undecodable", str(error))
