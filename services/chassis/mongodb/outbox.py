"""Transactional outbox: messages stored in the document that they announce, and delivered afterwards.

A message is an element of its document's field `outbox`, so that one write stores both or neither. One relay per
channel delivers the messages at least once and then removes them.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from msgspec import Struct, convert, to_builtins
from pymongo import UpdateOne
from pymongo.read_concern import ReadConcern

from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.kafka.record_format import Header
from services.chassis.mongodb.client import Mongo, create_index, mongo_errors
from services.chassis.runtime import metrics
from services.chassis.runtime.background import BackgroundTask

SENT = metrics.counter("outbox_messages_total", "Messages delivered from the outbox.", ("channel",))
FAILED = metrics.counter("outbox_failures_total", "Failed deliveries from the outbox.", ("channel",))
OLDEST_SECONDS = metrics.gauge("outbox_oldest_seconds", "Age of the oldest message in the outbox.", ("channel",))

FIELD = "outbox"
MICROS = 1_000_000
MAX_MESSAGES_PER_RUN = 500
MAX_BACKOFF_S = 3_600
STALL_TIMEOUT_S = 60.0


class Message(Struct, frozen=True, kw_only=True):
    """A message to deliver. `target` is a topic, or what the channel defines; `id` identifies repeated deliveries."""

    id: str
    channel: str
    target: str
    key: bytes = b""
    value: bytes = b""
    headers: tuple[Header, ...] = ()
    created_us: int
    attempts: int = 0


def to_outbox_field(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return the value of `outbox` in a new document."""
    # Due at once, whatever the clock says: only a failed delivery is postponed.
    return [{**to_builtins(message, builtin_types=(bytes,)), "due_us": 0} for message in messages]


def outbox_push(messages: Sequence[Message]) -> dict[str, Any]:
    """Return the part of an update that adds messages to a document."""
    return {"$push": {FIELD: {"$each": to_outbox_field(messages)}}}


class _PendingMessage(Struct, frozen=True):
    collection: str
    document: Any
    message: Message


class Outbox:
    """The pending messages of some collections, as a majority of the replica set's members has them."""

    def __init__(self, mongo: Mongo, collections: Sequence[str], *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._collections = collections
        # A failing primary may roll back what only it has: that must not be announced.
        majority = ReadConcern("majority")
        self._committed = {name: mongo.collection(name).with_options(read_concern=majority) for name in collections}
        self.now_us = now_us

    async def create_indexes(self) -> None:
        """Create the indexes; raises `UnavailableError`."""
        for name in self._collections:
            by_due_us = [(f"{FIELD}.channel", 1), (f"{FIELD}.due_us", 1)]
            await create_index(self._mongo.collection(name), by_due_us, name=FIELD, sparse=True)

    async def due(self, channel: str) -> list[_PendingMessage]:
        """Return the due messages, those of each document in order; raises `UnavailableError`."""
        now_us, found = self.now_us(), []
        # Further ahead than the longest backoff: set by a clock that was wrong.
        too_far_us = now_us + MAX_BACKOFF_S * MICROS
        times = [{"due_us": {"$lte": now_us}}, {"due_us": {"$gt": too_far_us}}]
        due = {FIELD: {"$elemMatch": {"channel": channel, "$or": times}}}
        with mongo_errors():
            for name, collection in self._committed.items():
                cursor = collection.find(due, {FIELD: 1}).hint(FIELD).limit(MAX_MESSAGES_PER_RUN)
                found += [
                    _PendingMessage(name, document["_id"], convert(entry, Message, builtin_types=(bytes,)))
                    for document in await cursor.to_list(None)
                    for entry in document[FIELD]
                    if entry["channel"] == channel and not now_us < entry["due_us"] <= too_far_us
                ]
        return found

    async def oldest_us(self, channel: str) -> int | None:
        """Return when the oldest message was stored, rescheduled ones included; raises `UnavailableError`."""
        found: list[int] = []
        with mongo_errors():
            for collection in self._committed.values():
                cursor = collection.find({f"{FIELD}.channel": channel}, {FIELD: 1}).hint(FIELD)
                found += [
                    entry["created_us"]
                    for document in await cursor.limit(MAX_MESSAGES_PER_RUN).to_list(None)
                    for entry in document[FIELD]
                    if entry["channel"] == channel
                ]
        return min(found, default=None)

    async def remove(self, delivered: Sequence[_PendingMessage]) -> None:
        """Remove delivered messages; raises `UnavailableError`."""
        for name in self._collections:
            removed = [pending for pending in delivered if pending.collection == name]
            if removed:
                # One statement: MongoDB takes twice as long for one per document.
                ids = {"id": {"$in": [pending.message.id for pending in removed]}}
                documents = list({pending.document for pending in removed})
                with mongo_errors():
                    await self._mongo.collection(name).update_many({"_id": {"$in": documents}}, {"$pull": {FIELD: ids}})

    async def reschedule(self, failed: Sequence[_PendingMessage]) -> None:
        """Postpone messages, with exponential backoff; raises `UnavailableError`."""
        now_us = self.now_us()

        def postpone(pending: _PendingMessage) -> UpdateOne:
            backoff_s = min(5 * 2**pending.message.attempts, MAX_BACKOFF_S)
            due = {f"{FIELD}.$.due_us": now_us + backoff_s * MICROS}
            return UpdateOne(
                {"_id": pending.document, f"{FIELD}.id": pending.message.id},
                {"$set": due, "$inc": {f"{FIELD}.$.attempts": 1}},
            )

        for name in self._collections:
            updates = [postpone(pending) for pending in failed if pending.collection == name]
            if updates:
                with mongo_errors():
                    await self._mongo.collection(name).bulk_write(updates, ordered=False)


Deliver = Callable[[Sequence[Message]], Awaitable[Collection[str]]]


class Relay(BackgroundTask):
    """Delivers one channel's messages: at once after `wake()`, and regularly for those that other processes stored.

    `deliver` returns the ids of the delivered messages; it raises `UnavailableError` if none can be delivered now.
    """

    def __init__(
        self,
        outbox: Outbox,
        deliver: Deliver,
        *,
        channel: str,
        interval_s: float = 1.0,
        start_when: Callable[[], bool] = lambda: True,
    ) -> None:
        async def run() -> float:
            await self._remove_delivered()
            return 0.0 if start_when() and await self.deliver_due() else interval_s

        super().__init__(
            f"{channel} relay",
            run,
            retry_s=interval_s,
            retry_after_defect_s=interval_s,
            stall_timeout_s=STALL_TIMEOUT_S,
        )
        self._outbox = outbox
        self._deliver = deliver
        self._channel = channel
        # Not yet removed, because MongoDB was not available.
        self._delivered: list[_PendingMessage] = []

    async def deliver_due(self) -> int:
        """Deliver what is due and return how many messages that were; raises `UnavailableError`."""
        await self._remove_delivered()
        pending = await self._outbox.due(self._channel)
        if not pending:
            self._report_age(await self._outbox.oldest_us(self._channel))
            return 0
        self._report_age(min(one.message.created_us for one in pending))
        arrived = await self._deliver([one.message for one in pending])
        delivered = [one for one in pending if one.message.id in arrived]
        failed = [one for one in pending if one.message.id not in arrived]
        self._delivered = delivered
        SENT.labels(self._channel).inc(len(delivered))
        FAILED.labels(self._channel).inc(len(failed))
        await self._remove_delivered()
        await self._outbox.reschedule(failed)
        return len(delivered)

    async def _remove_delivered(self) -> None:
        """Remove what was delivered, so that it is not delivered again; raises `UnavailableError`."""
        await self._outbox.remove(self._delivered)
        self._delivered = []

    def _report_age(self, oldest_us: int | None) -> None:
        age_us = 0 if oldest_us is None else max(self._outbox.now_us() - oldest_us, 0)
        OLDEST_SECONDS.labels(self._channel).set(age_us / MICROS)


def kafka_delivery(producer: Producer) -> Deliver:
    """Return a delivery that publishes each message to the topic that it names."""

    async def deliver(messages: Sequence[Message]) -> Collection[str]:
        topics: dict[str, list[ProducerRecord]] = {}
        for message in messages:
            record = ProducerRecord(message.key, message.value, message.headers)
            topics.setdefault(message.target, []).append(record)
        for topic, records in topics.items():
            await producer.send_by_key(topic, records)
        return {message.id for message in messages}

    return deliver
