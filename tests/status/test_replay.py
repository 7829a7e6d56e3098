"""F15: the whole history read again from its first offset changes no answer."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.status.adapters.job_store import MongoJobs
from services.status.adapters.notifier import HandBell
from services.status.domain.facts import JobEvent, Key
from services.status.flows import apply_events, queries
from services.status.http.jobs import StatusApi
from services.status.http.page_tokens import PageTokens
from tests.status.api_side import Desk, Passport, Register, desk
from tests.status.events import a_header, a_run, judged, opened
from tests.status.fuzzing import a_stream
from tests.status.memory import MemoryOrigins

__all__ = ["desk"]

JOBS = 15
POLL = 60

Answer = tuple[int, str | None, bytes]


class House:
    """The real API over the real store; `read` puts events in as a consumer does."""

    def __init__(self, client: TestClient[Any, Any], world: apply_events.World) -> None:
        self._client = client
        self._world = world

    async def read(self, topic: list[JobEvent], *, poll: int = POLL) -> None:
        for at in range(0, len(topic), poll):
            await apply_events.record(topic[at : at + poll], self._world)

    async def page(self, key: Key, query: dict[str, str]) -> tuple[int, Any]:
        """A page of the job's events."""
        url = f"/common-status/v1/12345/job/{key.job_id}/events"
        response = await self._client.get(url, params=query, headers={"Authorization": "Bearer good"})
        return response.status, await response.json(content_type=None)

    async def answers(self, key: Key) -> dict[str, Answer]:
        """Everything that can be asked about a job, every page of it."""
        base = f"/common-status/v1/12345/job/{key.job_id}"
        asked = [base, f"{base}/events", f"{base}/events?showAll=true&order=desc", f"{base}/events?showAll=1&rows=333"]
        asked += [f"{base}/records?outcome={outcome}" for outcome in ("succeeded", "failed", "unprocessed")]
        found: dict[str, Answer] = {}
        while asked:
            url = asked.pop()
            response = await self._client.get(url, headers={"Authorization": "Bearer good"})
            found[url] = response.status, response.headers.get("ETag"), await response.read()
            # The link has the place in it, and with the same places come the same links.
            asked += [str(URL(str(link["url"])).relative()) for name, link in response.links.items() if name == "next"]
        return found


@pytest.fixture
async def house(mongodb_uri: str) -> AsyncIterator[House]:
    settings = MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}")
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs, bell = MongoJobs(mongo, now=lambda: datetime.now(UTC)), HandBell(most=2)
    await jobs.prepare(retention_days=30)
    api = StatusApi(
        world=queries.World(jobs=jobs, waiting=bell, now_us=lambda: 0, clock_s=lambda: 0.0),
        verifier=Passport(),  # type: ignore[arg-type]
        sites=Register(),  # type: ignore[arg-type]
        tokens=PageTokens("a secret of sixteen"),
        gate=RateLimit(),
        requests_per_second=1_000_000,
        openapi=REPOSITORY / "schemas/openapi/common-status.yaml",
    )
    world = apply_events.World(jobs=jobs, origins=MemoryOrigins(), bell=bell, now_us=lambda: 0)
    async with TestClient(TestServer(build_application(api.routes()))) as client:
        yield House(client, world)
    await mongo.client.drop_database(settings.mongodb_database)
    await mongo.close()


async def test_answers_from_mongodb_are_those_from_memory(house: House, desk: Desk) -> None:
    """Readers are given only the texts that their answers are made from: none may lack."""
    chance = random.Random(2)  # noqa: S311 - it has to be repeatable
    there = House(desk.client, desk.writing)
    for total in (3, 700):
        header = a_header(total, key=Key(608, str(uuid4())))
        verdicts = "".join(chance.choice("SF") for _ in range(total))
        topic = [opened(header), judged(a_run(verdicts), header)]
        for one in (house, there):
            await one.read(topic)
        assert await house.answers(header.key) == await there.answers(header.key)


async def test_the_whole_history_read_again_leaves_every_answer_as_it_was(house: House) -> None:
    """Breaks: all offsets are lost, once in the middle and once at the end; late verdicts and expiry included.

    Must hold: every answer and its ETag are the same, byte for byte. Known by comparing all pages of all calls.
    """
    chance = random.Random(1)  # noqa: S311 - it has to be repeatable
    keys = [Key(608, str(uuid4())) for _ in range(JOBS)]
    streams = [a_stream(chance, key)[0] for key in keys]
    topic = [event for stream in streams for event in stream]
    # As partitions mix jobs: the events of each stay in order.
    order = chance.sample([number for number, stream in enumerate(streams) for _ in stream], len(topic))
    rests = [iter(stream) for stream in streams]
    topic = [next(rests[number]) for number in order]
    await house.read(topic[: len(topic) // 2])
    await house.read(topic)
    before = [await house.answers(key) for key in keys]
    assert {answer[0] for answers in before for answer in answers.values()} == {200}
    await house.read(topic)
    assert [await house.answers(key) for key in keys] == before
