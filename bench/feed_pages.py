"""`python -m bench.feed_pages`: the time of a page of a long feed.

With `--directory`, the feed is kept there: filled by the first run, only read by the next ones.
"""

import asyncio
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated, Any

import typer
from pymongo import WriteConcern

from bench.environment import quantile
from sandbox.mongo import ReplicaSet
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import MongoSettings
from services.webhooks.adapters.feed_store import EVENTS, MongoFeedStore, event_key
from services.webhooks.domain.event import EventType, FeedQuery, NewEvent, derive_id, render_event

SITE = 608
BATCH = 5_000
WRITERS = 2
RARE = 100
# Longer than the measurement's data are kept.
RETENTION_DAYS = 3_650
BEGAN_US = 1_767_268_800_000_000


def main(
    events: Annotated[int, typer.Option(help="Events in the feed.")] = 1_000_000,
    rows: Annotated[int, typer.Option(help="Events on a page.")] = 500,
    rounds: Annotated[int, typer.Option(help="Pages that are read.")] = 500,
    directory: Annotated[Path | None, typer.Option(help="Directory of MongoDB's files, kept for further runs.")] = None,
) -> None:
    """Fill a feed and measure its pages."""
    with _directory(directory) as files, ReplicaSet(files) as mongo:
        asyncio.run(run(mongo.uri, events=events, rows=rows, rounds=rounds))


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


async def run(uri: str, *, events: int, rows: int, rounds: int) -> None:
    """Fill the feed unless it has enough events, and print the times of pages at random positions."""
    # Long enough for an index of all events; one command that takes longer is aborted, and begins again from nothing.
    settings = MongoSettings(mongodb_uri=uri, mongodb_database="bench", mongodb_timeout_ms=600_000)
    async with Mongo.connect(settings) as mongo:
        if await mongo.collection(EVENTS).estimated_document_count() < events:
            await fill(mongo, events)
        store = MongoFeedStore(mongo)
        await store.create_indexes(retention_days=RETENTION_DAYS)
        chance = Random(0)
        for name, types in (("all types", ()), (f"one of {RARE} events", (EventType.INVOICE_ISSUED.value,))):
            last = events - rows * (RARE if types else 1)
            took_s = await time_pages(
                store,
                [FeedQuery(site=SITE, after=chance.randrange(last), rows=rows, types=types) for _ in range(rounds)],
            )
            figures = ", ".join(f"{quantile(took_s, share) * 1e3:.1f} ms" for share in (0.9, 0.99))
            print(f"page of {rows} of {events:,}, {name}: p50 {median(took_s) * 1e3:.1f} ms; p90, p99 {figures}")


async def time_pages(store: MongoFeedStore, queries: Sequence[FeedQuery]) -> list[float]:
    """The seconds that each page took."""
    took_s = []
    for query in queries:
        started = time.perf_counter()
        page = await store.read(query)
        took_s.append(time.perf_counter() - started)
        assert len(page) == query.rows
    return took_s


async def fill(mongo: Mongo, events: int) -> None:
    """Insert events in the order of their sequence, without waiting for the disk."""
    collection = mongo.collection(EVENTS)
    await collection.drop()
    unsafe = collection.with_options(write_concern=WriteConcern(w=1, j=False))
    template, began, batches = Template(), time.perf_counter(), iter(range(1, events + 1, BATCH))

    async def write() -> None:
        for first in batches:
            await unsafe.insert_many(
                [template.build(number) for number in range(first, min(first + BATCH, events + 1))], ordered=False
            )

    await asyncio.gather(*(write() for _ in range(WRITERS)))
    print(f"{events:,} events inserted in {time.perf_counter() - began:.0f} s, without indexes")


class Template:
    """Builds documents as the service stores them, from one that it has rendered."""

    JOB, SEQUENCE = "00000000-0000-5000-8000-000000000000", 123_456_789

    def __init__(self) -> None:
        self._texts = {kind: self._render(kind) for kind in (EventType.JOB_FINISHED, EventType.INVOICE_ISSUED)}
        self._recorded = datetime.now(UTC)

    def _render(self, kind: EventType) -> str:
        path = f"/common-status/v1/{{apiKey}}/job/{self.JOB}"
        data = {
            "jobId": self.JOB,
            "type": "orders",
            "mode": "offline",
            "state": "COMPLETED",
            "counts": {"total": 1, "failed": 0, "success": 1},
            "links": {"job": path, "events": f"{path}/events"},
        }
        event = NewEvent(id=self.JOB, site=SITE, type=kind.value, time_us=BEGAN_US, data=data)
        return render_event(event, self.SEQUENCE)

    def build(self, number: int) -> dict[str, Any]:
        """The document of an event; one of `RARE` is an invoice."""
        kind = EventType.INVOICE_ISSUED if number % RARE == 0 else EventType.JOB_FINISHED
        event_id = derive_id(number)
        text = self._texts[kind].replace(self.JOB, event_id).replace(str(self.SEQUENCE), str(number))
        return {
            "_id": event_key(SITE, number),
            "event": event_id,
            "site": SITE,
            "type": kind.value,
            "sequence": number,
            "json": text,
            "recorded": self._recorded,
            "recorded_us": BEGAN_US + number,
        }


if __name__ == "__main__":
    typer.run(main)
