"""I7, watched at each commit: no committed offset is ahead of its durable effect."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import bson
from aiokafka import ConsumerRecord, TopicPartition

from services import topics
from services.chassis.avro.wire_format import LENGTH
from services.jobs.codec import JobEventCodec, MalformedEventError
from services.jobs.events import JobEvent, Judged, Opened
from services.status.adapters import job_documents
from services.status.domain.chunks import CHUNK_SIZE
from services.status.domain.job import StoredJob
from services.webhooks.wire import EventDecoder
from tests.faults.checker.ledger import Violation
from tests.simulation import setup
from tests.simulation.books import Books

if TYPE_CHECKING:
    from tests.simulation.installation import Installation

OUTPUTS = (topics.ORDERS_VALIDATED.name, topics.RECORDS_REJECTED.name, f"{topics.ORDERS_SUBMITTED.name}.dlq")


class OffsetWatch:
    """Checks the commits of the validator, of status, of the ledger and of webhooks."""

    def __init__(self, installation: "Installation") -> None:
        self._installation = installation
        self.violations: list[Violation] = []
        self._checked: dict[tuple[str, TopicPartition], int] = {}
        self._books = Books(installation.mongodb)
        self._feed_events = EventDecoder(setup.all_schemas())
        self._events = JobEventCodec(setup.all_schemas()["job_event"].definition)
        self._decided: set[tuple[str, int]] = set()
        self._read: dict[TopicPartition, int] = {}
        installation.kafka.on_commit = self.on_commit

    def on_commit(self, group: str, offsets: Mapping[TopicPartition, int]) -> None:
        """Check the records between the last checked offset and the committed one."""
        for where, offset in offsets.items():
            first = self._checked.get((group, where), 0)
            partition = self._installation.kafka.partitions[where]
            for record in partition.records[max(first - partition.begin, 0) : max(offset - partition.begin, 0)]:
                if group == "validator" and not self._is_judged(record):
                    self._add(
                        f"the validator committed {where.topic}-{where.partition} up to {offset},"
                        f" and {record.offset} is not judged"
                    )
                if group == "ledger" and not self._books.have(record):
                    self._add(
                        f"the ledger committed {where.topic}-{where.partition} up to {offset},"
                        f" and {record.offset} has no entry"
                    )
                if group == "webhooks" and not self._is_in_feed(record):
                    self._add(
                        f"webhooks committed {where.topic}-{where.partition} up to {offset},"
                        f" and {record.offset} is not in the feed"
                    )
                if group == "status" and not self._is_stored(record):
                    self._add(
                        f"status committed {where.topic}-{where.partition} up to {offset},"
                        f" and {self._decode(record)} is not stored"
                    )
            self._checked[group, where] = max(first, offset)
        if group == "ledger" and (differing := self._books.difference()):
            self._add(f"sums differ from the entries: {differing}", invariant="I6")

    def _add(self, message: str, *, invariant: str = "I7") -> None:
        if len(self.violations) < 3:
            self.violations.append(Violation(invariant, message))

    def _is_judged(self, record: ConsumerRecord) -> bool:
        """Whether the verdict on the record is acknowledged, for jobs and for other teams."""
        headers = dict(record.headers)
        if "jobId" not in headers:
            return True
        identity = headers["jobId"].decode(), int(headers["index"])
        if identity not in self._decided:
            self._read_events()
        return identity in self._decided

    def _is_in_feed(self, record: ConsumerRecord) -> bool:
        """Whether a majority of MongoDB's members has the events that the record stands for."""
        stored = {document["event"] for document in self._installation.mongodb.settled("feed_events")}
        return all(event.id in stored for event in self._feed_events.decode(record.topic, record.value))

    def _read_events(self) -> None:
        for where, partition in self._installation.kafka.partitions.items():
            if where.topic != topics.JOBS_EVENTS.name:
                continue
            for record in partition.records[self._read.get(where, 0) : partition.committed]:
                event = self._decode(record)
                if event is not None and isinstance(event.fact, Judged):
                    run = event.fact.run
                    for at, outcome in enumerate(run.outcomes):
                        if outcome != ".":
                            self._decided.add((event.header.key.job_id, run.first + at))
            self._read[where] = partition.committed

    def _decode(self, record: ConsumerRecord) -> JobEvent | None:
        try:
            return self._events.decode(record.value, start=LENGTH)
        except MalformedEventError:
            return None

    def _is_stored(self, record: ConsumerRecord) -> bool:
        """Whether a majority of MongoDB's members has everything that the event says."""
        event = self._decode(record)
        if event is None:
            return True
        run = event.fact.run if isinstance(event.fact, Judged) else None
        if isinstance(event.fact, Opened):
            run = event.fact.refused
        jobs = self._installation.mongodb.documents("jobs").majority
        document = jobs.get(job_documents.job_document_id(event.header.key))
        if document is None:
            return False
        if run is None:
            return True
        stored = job_documents.stored_job_from(bson.decode(bson.encode(document)))
        for at, outcome in enumerate(run.outcomes):
            if outcome != "." and not self._has_outcome(stored, run.first + at):
                return False
        return True

    def _has_outcome(self, stored: StoredJob, index: int) -> bool:
        if stored.block is not None:
            return bool(stored.block.outcomes[index] != ".")
        number = index // CHUNK_SIZE
        chunks = self._installation.mongodb.documents("chunks").majority
        document = chunks.get(job_documents.chunk_document_id(stored.job.key, number))
        if document is None:
            return False
        block = job_documents.block_from(bson.decode(bson.encode(document)), stored.job.profile.total)
        return bool(block.outcomes[index - block.first] != ".")
