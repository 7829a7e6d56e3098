"""Fulfils each transaction that was placed, as soon as its event is read."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol

from aiokafka import TopicPartition

from services.chassis.consumer import Offsets, Poll
from services.chassis.deadletter import DeadLetter
from services.chassis.errors import Away
from services.chassis.logs import logger
from services.fulfilment.wire import Events

_LOG = logger(__name__)


class DeadLetterBox(Protocol):
    """Takes what cannot be read."""

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        """Return when all are safe; raises `Away`."""
        ...


class Worker:
    """Hands every placed transaction to `fulfil`. What a transaction still waits for then is the sweeper's business."""

    def __init__(
        self, fulfil: Callable[[str], Awaitable[object]], *, events: Events, dead_letters: DeadLetterBox
    ) -> None:
        self._fulfil = fulfil
        self._events = events
        self._dead_letters = dead_letters

    async def handle(self, poll: Poll) -> Offsets:
        """Return when every transaction of the poll has been looked at. Raises `Away`."""
        placed: list[str] = []
        letters: list[DeadLetter] = []
        for records in poll.values():
            for record in records:
                try:
                    placed.append(self._events.placed_in(record.value))
                except ValueError as error:
                    letters.append(DeadLetter(record, "undecodable", str(error)))
        if letters:
            await self._dead_letters.send(letters)
        outcomes = await asyncio.gather(*map(self._fulfil, dict.fromkeys(placed)), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, Away):
                # A defect in one must not hold up the others: it is still due, and the sweeper tries it again.
                _LOG.error("a transaction could not be fulfilled", exc_info=outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
        return {place: records[-1].offset + 1 for place, records in poll.items() if records}

    def revoked(self, partitions: Collection[TopicPartition]) -> None:
        """Nothing is held back."""
