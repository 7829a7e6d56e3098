"""Kafka consumer handler: fulfils each transaction when its event arrives."""

from collections.abc import Awaitable, Callable, Sequence

from aiokafka import ConsumerRecord

from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetterSender
from services.chassis.kafka.decoding_handler import DecodingHandler
from services.fulfilment.flows.single_flight import run_all
from services.fulfilment.wire.events import EventCodec


class Worker(DecodingHandler[str]):
    """Calls `fulfil` once for every placed transaction; the sweeper takes care of those that stay pending."""

    def __init__(
        self,
        fulfil: Callable[[str], Awaitable[object]],
        *,
        codec: EventCodec,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
    ) -> None:
        super().__init__(dead_letters=dead_letters, dead_letter_limit=dead_letter_limit)
        self._fulfil = fulfil
        self._codec = codec

    def decode(self, record: ConsumerRecord) -> str:
        """Return the id of a transaction that was placed."""
        return self._codec.decode_placed_id(record.value)

    async def apply(self, decoded: Sequence[str]) -> None:
        """Fulfil the transactions."""
        await run_all(self._fulfil, dict.fromkeys(decoded))
