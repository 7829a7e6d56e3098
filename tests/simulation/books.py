"""The ledger's books as a majority of MongoDB's members has them: entries and sums, which must agree."""

from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import bson
from aiokafka import ConsumerRecord

from services import topics
from services.ledger.adapters.collections import ENTRIES, MOVEMENTS, SUMS
from services.ledger.adapters.sums import BY_STORE
from services.ledger.domain.entries import group_key, group_sums
from services.ledger.domain.sums import Sums, add_to, difference
from services.ledger.wire import documents
from services.ledger.wire.records import MalformedRecordError, RecordReader
from tests.simulation import setup
from tests.simulation.replica_set import ReplicaSet

# The simulated customer's.
ZONE = ZoneInfo("Europe/Berlin")
TOPICS = (topics.ORDERS_VALIDATED.name, topics.RETURNS_VALIDATED.name)


class Books:
    """Reads the ledger's collections."""

    def __init__(self, mongodb: ReplicaSet) -> None:
        self._mongodb = mongodb
        self._reader = RecordReader(setup.all_schemas())

    def have(self, record: ConsumerRecord) -> bool:
        """Whether the order or return of a validated record has an entry."""
        try:
            found = self._reader.read(record.topic, record.value)
        except MalformedRecordError:
            return True
        document = self._mongodb.documents(ENTRIES).majority.get(documents.group_id(group_key(found)))
        if document is None:
            return False
        stored = document["orders"] if record.topic == topics.ORDERS_VALIDATED.name else document["returns"]
        return any(each.get("channel") == found.channel for each in stored)

    def difference(self) -> Sums:
        """By how much the sums, with the movements that are not folded yet, differ from the entries."""
        sums: Sums = {}
        for document in self._majority(SUMS):
            if document["family"] == BY_STORE:
                add_to(sums, documents.cells_of_month(document))
        for document in self._majority(MOVEMENTS):
            if not document["folded"]:
                parts = documents.movement_from(document).parts
                # The others are for the topic only.
                for part in [each for each in parts if each.generation is not None]:
                    add_to(sums, part.sums)
        counted: Sums = {}
        for document in self._majority(ENTRIES):
            if "orders" in document:
                add_to(counted, group_sums(documents.group_from(document), ZONE))
        return difference(sums, counted)

    def _majority(self, name: str) -> Iterator[Mapping[str, Any]]:
        for document in self._mongodb.settled(name):
            yield bson.decode(bson.encode(document))
