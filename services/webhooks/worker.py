"""Kafka in: append the events of each poll to the feeds."""

from collections.abc import Sequence

from aiokafka import ConsumerRecord

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetterSender
from services.chassis.kafka.decoding_handler import DecodingHandler
from services.webhooks.domain.event import NewEvent
from services.webhooks.flows.append_events import Deps, append_events
from services.webhooks.wire import EventDecoder


class Worker(DecodingHandler[Sequence[NewEvent]]):
    """Appends what other services published. A record that is delivered again changes nothing."""

    def __init__(
        self,
        deps: Deps,
        *,
        decoder: EventDecoder,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
    ) -> None:
        super().__init__(dead_letters=dead_letters, dead_letter_limit=dead_letter_limit)
        self._deps = deps
        self._decoder = decoder

    def decode(self, record: ConsumerRecord) -> Sequence[NewEvent]:
        """Return the events that the record stands for."""
        return self._decoder.decode(record.topic, record.value)

    async def apply(self, decoded: Sequence[Sequence[NewEvent]]) -> None:
        """Append the events."""
        await append_events([event for events in decoded for event in events], self._deps)
