"""Publishes movements: the signed rows of every change of a sum."""

from collections.abc import Iterable, Sequence

from pymongo.read_concern import ReadConcern

from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.mongodb.client import Mongo, mongo_errors
from services.chassis.runtime.failpoints import failpoint
from services.ledger.adapters.collections import MOVEMENTS
from services.ledger.domain.movement import Movement
from services.ledger.wire.documents import movement_from
from services.ledger.wire.movements import MovementEncoder
from services.topics import LEDGER_MOVEMENTS

MAX_MOVEMENTS_PER_RUN = 20

_PUBLISHED = failpoint("ledger-published")


class MovementPublisher:
    """Publishes folded movements, each at least once, and deletes them; a repeated row has the same id."""

    def __init__(self, mongo: Mongo, producer: Producer, encoder: MovementEncoder) -> None:
        # A failing primary may roll back what only it has: that must not be announced.
        self._movements = mongo.collection(MOVEMENTS).with_options(read_concern=ReadConcern("majority"))
        self._producer = producer
        self._encoder = encoder

    async def publish(self) -> int:
        """Publish a batch; returns how many movements that were. Raises `UnavailableError`."""
        with mongo_errors():
            found = await self._movements.find({"folded": True}).limit(MAX_MOVEMENTS_PER_RUN).to_list(None)
        movements = list(map(movement_from, found))
        if not movements:
            return 0
        await self._producer.send_by_key(LEDGER_MOVEMENTS.name, list(self._records(movements)))
        _PUBLISHED()
        with mongo_errors():
            await self._movements.delete_many({"_id": {"$in": [movement.id for movement in movements]}})
        return len(movements)

    def _records(self, movements: Sequence[Movement]) -> Iterable[ProducerRecord]:
        for movement in movements:
            for key, value in self._encoder.encode(movement):
                yield ProducerRecord(key, value)
