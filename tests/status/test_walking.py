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
    """A reader's way through one job."""

    key: JobKey
    show_all: bool
    seen: list[str] = field(default_factory=list)
    token: str | None = None
    is_over: bool = False
    pages_of_a_running_job: int = 0

    async def step(self, harness: StatusHarness, rows: int) -> None:
        """One page more."""
        query = {"showAll": str(self.show_all), "rows": str(rows)} | ({"page": self.token} if self.token else {})
        status, body = await harness.page(self.key, query)
        if status == 404:
            return
        self.seen += [event["statusId"] for event in body["result"]]
        self.token = body["pagination"]["nextPageToken"]
        self.is_over = self.token is None
        self.pages_of_a_running_job += not body["summary"]["job"]["terminal"] and bool(body["result"])


def a_job(chance: random.Random, key: JobKey) -> list[JobEvent]:
    """Its events, in any order, as its records' partitions give them."""
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
    """Hundred jobs are written in small polls; readers walk all of them at the same time, never waiting for an end.

    Must hold: what a walk has seen at its end is what one page shows then. Known by comparing the two.
    """
    chance = random.Random(3)  # noqa: S311 - it has to be repeatable
    walks = [PageReader(JobKey(608, str(uuid4())), show_all=chance.random() < 0.5) for _ in range(JOBS)]
    topic = [event for walk in walks for event in a_job(chance, walk.key)]
    chance.shuffle(topic)

    async def walk_along(mine: list[PageReader]) -> None:
        while mine:
            for walk in mine:
                await walk.step(harness, chance.choice([5, 40, 200]))
            mine = [walk for walk in mine if not walk.is_over]

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(harness.read(topic, poll=50))
        for reader in range(READERS):
            group.create_task(walk_along(walks[reader::READERS]))
    for walk in walks:
        _, whole = await harness.page(walk.key, {"showAll": str(walk.show_all), "rows": "10000"})
        assert walk.seen == [event["statusId"] for event in whole["result"]]
        places = [event["attributes"].get("index", 10**6) for event in whole["result"]]
        assert places == sorted(places)
    assert sum(walk.pages_of_a_running_job for walk in walks) > JOBS, "the jobs were written too fast to be watched"
