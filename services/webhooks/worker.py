"""Kafka in: append the events of each poll to the feeds, return the offsets that may be committed."""

from collections.abc import Collection, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender, dead_positions
from services.webhooks.domain.event import NewEvent
from services.webhooks.flows.append_events import Deps, append_events
from services.webhooks.wire import EventDecoder


class Worker:
    """Appends what other services published. A record that is delivered again changes nothing."""

    def __init__(
        self,
        deps: Deps,
        *,
        decoder: EventDecoder,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
    ) -> None:
        self._deps = deps
        self._decoder = decoder
        self._dead_letters = dead_letters
        self._dead_letter_limit = dead_letter_limit

    async def handle(self, poll: Poll) -> Offsets:
        """Process the poll and return the offsets to commit; raises `UnavailableError`."""
        decoded = {tp: [self._decode(record) for record in records] for tp, records in poll.items() if records}
        allowed = {
            tp: self._dead_letter_limit.allowed(tp, len(items), dead_positions(items)) for tp, items in decoded.items()
        }
        accepted = [item for tp, items in decoded.items() for item in items[: allowed[tp]]]
        letters = [item for item in accepted if isinstance(item, DeadLetter)]
        if letters:
            await self._dead_letters.send(letters)
        await append_events(
            [event for item in accepted if not isinstance(item, DeadLetter) for event in item], self._deps
        )
        for tp, items in decoded.items():
            self._dead_letter_limit.record(tp, len(items), dead_positions(items))
        return {tp: poll[tp][count - 1].offset + 1 for tp, count in allowed.items() if count}

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Forget that the partitions were halted; nothing of them is buffered between polls."""
        self._dead_letter_limit.resume(partitions)

    def _decode(self, record: ConsumerRecord) -> Sequence[NewEvent] | DeadLetter:
        try:
            return self._decoder.decode(record.topic, record.value)
        except ValueError as error:
            return DeadLetter(record, "undecodable", str(error))
