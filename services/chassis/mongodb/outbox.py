"""Messages that become durable together with what they tell of, and leave later.

A message waits inside the document that it tells of, in its field `outbox`: one write stores both or neither. A relay
per channel takes them where they belong, at least once, and removes them then.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

from msgspec import Struct
from pymongo import UpdateOne
from pymongo.read_concern import ReadConcern

from services.chassis.kafka.producer import Headers, Producer, ProducerRecord
from services.chassis.mongodb.client import Mongo, mongo_errors
from services.chassis.runtime import metrics
from services.chassis.runtime.ending import cancel_and_wait
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger

SENT = metrics.counter("outbox_messages_total", "Messages that left the outbox.", ("channel",))
FAILED = metrics.counter("outbox_failures_total", "Attempts to send that failed.", ("channel",))
OLDEST_SECONDS = metrics.gauge("outbox_oldest_seconds", "How long the oldest message has been waiting.", ("channel",))

FIELD = "outbox"
MICROS = 1_000_000
MAX_MESSAGES_PER_RUN = 500
MAX_BACKOFF_S = 3_600
_LOG = logger(__name__)


class Message(Struct, frozen=True, kw_only=True):
    """Something to be sent. `target` is a topic or whatever the channel understands; `id` tells repetitions apart."""

    id: str
    channel: str
    target: str
    key: bytes = b""
    value: bytes = b""
    headers: Headers = ()
    at_us: int
    attempts: int = 0


def to_outbox_field(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as they stand in a new document's `outbox`."""
    return [
        {
            "id": message.id,
            "channel": message.channel,
            "target": message.target,
            "key": message.key,
            "value": message.value,
            "headers": [list(header) for header in message.headers],
            "at": message.at_us,
            "after": message.at_us,
            "tries": message.attempts,
        }
        for message in messages
    ]


def outbox_push(messages: Sequence[Message]) -> dict[str, Any]:
    """The part of an update that adds messages to a document."""
    return {"$push": {FIELD: {"$each": to_outbox_field(messages)}}}


class _PendingMessage(Struct, frozen=True):
    collection: str
    document: Any
    message: Message


class Outbox:
    """The waiting messages of some collections, as a majority of MongoDB's members has them."""

    def __init__(self, mongo: Mongo, collections: Sequence[str], *, now_us: Callable[[], int]) -> None:
        self._mongo = mongo
        self._collections = collections
        # What a failing primary may yet take back must not have been told of.
        majority = ReadConcern("majority")
        self._shown = {name: mongo.collection(name).with_options(read_concern=majority) for name in collections}
        self.now_us = now_us

    async def create_indexes(self) -> None:
        """Make the indexes; raises `Away`."""
        with mongo_errors():
            for name in self._collections:
                await self._mongo.collection(name).create_index(
                    [(f"{FIELD}.channel", 1), (f"{FIELD}.after", 1)], name=FIELD, sparse=True
                )

    async def due(self, channel: str) -> list[_PendingMessage]:
        """Messages whose time has come, those of each document in their order; raises `Away`."""
        now_us, found = self.now_us(), []
        due = {FIELD: {"$elemMatch": {"channel": channel, "after": {"$lte": now_us}}}}
        with mongo_errors():
            for name, collection in self._shown.items():
                cursor = collection.find(due, {FIELD: 1}).hint(FIELD).limit(MAX_MESSAGES_PER_RUN)
                found += [
                    _PendingMessage(name, document["_id"], _message(entry))
                    for document in await cursor.to_list(None)
                    for entry in document[FIELD]
                    if entry["channel"] == channel and entry["after"] <= now_us
                ]
        return found

    async def oldest_us(self, channel: str) -> int | None:
        """Since when the oldest message has been waiting, be it postponed; None if there is none. Raises `Away`."""
        found: list[int] = []
        with mongo_errors():
            for collection in self._shown.values():
                cursor = collection.find({f"{FIELD}.channel": channel}, {FIELD: 1}).hint(FIELD)
                found += [
                    entry["at"]
                    for document in await cursor.limit(MAX_MESSAGES_PER_RUN).to_list(None)
                    for entry in document[FIELD]
                    if entry["channel"] == channel
                ]
        return min(found, default=None)

    async def remove(self, sent: Sequence[_PendingMessage]) -> None:
        """These have arrived; raises `Away`."""
        await self._update(
            sent, lambda one: UpdateOne({"_id": one.document}, {"$pull": {FIELD: {"id": one.message.id}}})
        )

    async def reschedule(self, failed: Sequence[_PendingMessage]) -> None:
        """Try these later, the later the more often they failed; raises `Away`."""
        now_us = self.now_us()

        def change(one: _PendingMessage) -> UpdateOne:
            pause_s = min(5 * 2**one.message.attempts, MAX_BACKOFF_S)
            later = {f"{FIELD}.$.after": now_us + pause_s * MICROS}
            return UpdateOne(
                {"_id": one.document, f"{FIELD}.id": one.message.id}, {"$set": later, "$inc": {f"{FIELD}.$.tries": 1}}
            )

        await self._update(failed, change)

    async def _update(self, some: Sequence[_PendingMessage], change: Callable[[_PendingMessage], UpdateOne]) -> None:
        for name in self._collections:
            changes = [change(one) for one in some if one.collection == name]
            if changes:
                with mongo_errors():
                    await self._mongo.collection(name).bulk_write(changes, ordered=False)


Deliver = Callable[[Sequence[Message]], Awaitable[Collection[str]]]


class Relay:
    """Empties one channel of an outbox: at once when it is nudged, and regularly for what others left behind.

    `deliver` returns the ids of the messages that arrived, and raises `Away` when none can for now.
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
        self._outbox = outbox
        self._deliver = deliver
        self._channel = channel
        self._every_s = interval_s
        self._may_begin = start_when
        self._nudged = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._turned_at = monotonic()

    @property
    def alive(self) -> bool:
        """False once the loop stands still."""
        return monotonic() - self._turned_at < 60.0

    def wake(self) -> None:
        """Something was put into the outbox."""
        self._nudged.set()

    async def start(self) -> None:
        """Begin, in the background."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop where it is: what was sent and not removed is sent again."""
        if self._running is not None:
            await cancel_and_wait(self._running)

    async def run_once(self) -> int:
        """Send what is due; returns how many messages arrived. Raises `Away`."""
        waiting = await self._outbox.due(self._channel)
        if not waiting:
            self._report_age(await self._outbox.oldest_us(self._channel))
            return 0
        self._report_age(min(one.message.at_us for one in waiting))
        arrived = await self._deliver([one.message for one in waiting])
        sent = [one for one in waiting if one.message.id in arrived]
        failed = [one for one in waiting if one.message.id not in arrived]
        await self._outbox.remove(sent)
        await self._outbox.reschedule(failed)
        SENT.labels(self._channel).inc(len(sent))
        FAILED.labels(self._channel).inc(len(failed))
        return len(sent)

    def _report_age(self, oldest_us: int | None) -> None:
        waited_us = 0 if oldest_us is None else max(self._outbox.now_us() - oldest_us, 0)
        OLDEST_SECONDS.labels(self._channel).set(waited_us / MICROS)

    async def _run(self) -> None:
        while True:
            self._turned_at = monotonic()
            self._nudged.clear()
            try:
                if self._may_begin() and await self.run_once():
                    continue
            except UnavailableError as away:
                _LOG.warning("the relay waits", channel=self._channel, dependency=away.dependency)
            except Exception:  # noqa: BLE001 - a defect in one message must not end the loop
                _LOG.exception("the relay failed", channel=self._channel)
                await asyncio.sleep(self._every_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._nudged.wait()


def kafka_delivery(producer: Producer) -> Deliver:
    """Delivers to the topics that the messages name."""

    async def deliver(messages: Sequence[Message]) -> Collection[str]:
        topics: dict[str, list[Message]] = {}
        for message in messages:
            topics.setdefault(message.target, []).append(message)
        for topic, lot in topics.items():
            await producer.send_by_key(topic, [ProducerRecord(one.key, one.value, one.headers) for one in lot])
        return {message.id for message in messages}

    return deliver


def _message(entry: dict[str, Any]) -> Message:
    return Message(
        id=entry["id"],
        channel=entry["channel"],
        target=entry["target"],
        key=bytes(entry["key"]),
        value=bytes(entry["value"]),
        # Messages of an older release have none.
        headers=tuple((name, bytes(value)) for name, value in entry.get("headers", ())),
        at_us=entry["at"],
        attempts=entry["tries"],
    )
