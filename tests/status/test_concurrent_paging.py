"""I4: pages that are walked while jobs are written give every event once, in order."""

import asyncio
import random
from dataclasses import dataclass, field
from itertools import pairwise
from uuid import uuid4

from services.jobs.events import JobEvent, JobKey
from tests.jobs.events import a_header, a_run, judged, opened
from tests.status.test_replay import StatusHarness, harness

__all__ = ["harness"]

JOBS, READERS, PATIENCE_S = 100, 8, 120
SIZES = (3, 10, 40, 40, 100, 100, 100, 100, 100, 600)


@dataclass
class PageReader:
    """Reads the pages of one job."""

    key: JobKey
    show_all: bool
    seen: list[str] = field(default_factory=list)
    token: str | None = None
    is_over: bool = False
    pages_of_a_running_job: int = 0

    async def read_page(self, harness: StatusHarness, rows: int) -> None:
        """Read the next page."""
        query = {"showAll": str(self.show_all), "rows": str(rows)} | ({"page": self.token} if self.token else {})
        status, body = await harness.page(self.key, query)
        if status == 404:
            return
        self.seen += [event["statusId"] for event in body["result"]]
        self.token = body["pagination"]["nextPageToken"]
        self.is_over = self.token is None
        self.pages_of_a_running_job += not body["summary"]["job"]["terminal"] and bool(body["result"])


def a_job(chance: random.Random, key: JobKey) -> list[JobEvent]:
    """A job's events in random order."""
    total = chance.choice(SIZES)
    header = a_header(total, key=key)
    verdicts = "".join(chance.choice("SFF") for _ in range(total))
    cuts = sorted({0, total, *(chance.randrange(total) for _ in range(8))})
    runs = [a_run(verdicts[start:end], start) for start, end in pairwise(cuts)]
    events = [opened(header), *(judged(run, header) for run in runs)]
    return chance.sample(events, len(events))


async def test_who_walks_the_pages_while_jobs_are_written_sees_every_event_once_in_order(
    harness: StatusHarness,
) -> None:
    """Hundred jobs are written in small polls; readers page through all of them meanwhile, never waiting.

    Must hold: what a reader has seen at its end is what one page shows then. Known by comparing the two.
    """
    chance = random.Random(3)  # noqa: S311 - it has to be repeatable
    readers = [PageReader(JobKey(608, str(uuid4())), show_all=chance.random() < 0.5) for _ in range(JOBS)]
    topic = [event for reader in readers for event in a_job(chance, reader.key)]
    chance.shuffle(topic)

    async def walk_along(mine: list[PageReader]) -> None:
        while mine:
            for reader in mine:
                await reader.read_page(harness, chance.choice([5, 40, 200]))
            mine = [reader for reader in mine if not reader.is_over]

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(harness.read(topic, poll=50))
        for start in range(READERS):
            group.create_task(walk_along(readers[start::READERS]))
    for reader in readers:
        _, whole = await harness.page(reader.key, {"showAll": str(reader.show_all), "rows": "10000"})
        assert reader.seen == [event["statusId"] for event in whole["result"]]
        indexes = [event["attributes"].get("index", 10**6) for event in whole["result"]]
        assert indexes == sorted(indexes)
    assert sum(reader.pages_of_a_running_job for reader in readers) > JOBS, (
        "the jobs were written too fast to be watched"
    )
