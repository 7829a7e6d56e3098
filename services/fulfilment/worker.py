"""Fulfils each transaction that was placed, as soon as its event is read."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from aiokafka import ConsumerRecord, TopicPartition

from services.chassis.kafka.consumer import Offsets, Poll
from services.chassis.kafka.dead_letter_limit import DeadLetterLimit
from services.chassis.kafka.dead_letters import DeadLetter, DeadLetterSender
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.fulfilment.wire.events import EventCodec

_LOG = logger(__name__)

Read = Sequence[str | DeadLetter]


class Worker:
    """Hands every placed transaction to `fulfil`. What a transaction still waits for then is the sweeper's business."""

    def __init__(
        self,
        fulfil: Callable[[str], Awaitable[object]],
        *,
        events: EventCodec,
        dead_letters: DeadLetterSender,
        dead_letter_limit: DeadLetterLimit,
    ) -> None:
        self._fulfil = fulfil
        self._events = events
        self._dead_letters = dead_letters
        self._brake = dead_letter_limit

    async def handle(self, poll: Poll) -> Offsets:
        """Return when every transaction of the poll has been looked at. Raises `Away`."""
        read = {place: [self._read(record) for record in records] for place, records in poll.items() if records}
        admitted = {place: self._brake.allowed(place, len(items), _dead(items)) for place, items in read.items()}
        items = [item for place in read for item in read[place][: admitted[place]]]
        letters = [item for item in items if isinstance(item, DeadLetter)]
        if letters:
            await self._dead_letters.send(letters)
        await self._look_at(dict.fromkeys(item for item in items if isinstance(item, str)))
        for place, found in read.items():
            self._brake.record(place, len(found), _dead(found))
        return {place: poll[place][count - 1].offset + 1 for place, count in admitted.items() if count}

    def on_revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Another member reads these partitions; nothing of them is held back between polls."""
        self._brake.resume(partitions)

    def _read(self, record: ConsumerRecord) -> str | DeadLetter:
        try:
            return self._events.decode_placed_id(record.value)
        except ValueError as error:
            return DeadLetter(record, "undecodable", str(error))

    async def _look_at(self, placed: Mapping[str, object]) -> None:
        for outcome in await asyncio.gather(*map(self._fulfil, placed), return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, UnavailableError):
                # A defect in one must not hold up the others: it is still due, and the sweeper tries it again.
                _LOG.error("a transaction could not be fulfilled", exc_info=outcome)
            elif isinstance(outcome, BaseException):
                raise outcome


def _dead(read: Read) -> list[int]:
    return [position for position, item in enumerate(read) if isinstance(item, DeadLetter)]
