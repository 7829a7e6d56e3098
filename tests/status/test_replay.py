"""F15: the whole history read again from its first offset changes no answer."""

import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from services.chassis.http.server import build_application
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.settings import REPOSITORY, MongoSettings
from services.chassis.security.authentication import RequestAuthenticator
from services.jobs.events import JobEvent, JobKey
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.app import build_api
from services.status.flows import apply_events
from tests.jobs.events import a_header, a_run, judged, opened
from tests.status.api_fixtures import ApiClient, FakeSites, FakeVerifier, api
from tests.status.fakes import FakeFinishedPublisher, FakeSiteProfiles
from tests.status.fuzzing import a_stream

__all__ = ["api"]

JOBS = 15
POLL = 60

Answer = tuple[int, str | None, bytes]


class StatusHarness:
    """The real API over the real store; `read` applies events as the worker does."""

    def __init__(self, client: TestClient[Any, Any], deps: apply_events.Deps) -> None:
        self._client = client
        self._deps = deps

    async def read(self, topic: list[JobEvent], *, poll: int = POLL) -> None:
        for at in range(0, len(topic), poll):
            await apply_events.apply_events(topic[at : at + poll], self._deps)

    async def page(self, key: JobKey, query: dict[str, str]) -> tuple[int, Any]:
        """A page of the job's events."""
        url = f"/common-status/v1/12345/job/{key.job_id}/events"
        response = await self._client.get(url, params=query, headers={"Authorization": "Bearer good"})
        return response.status, await response.json(content_type=None)

    async def answers(self, key: JobKey) -> dict[str, Answer]:
        """Every response about a job, with all its pages."""
        base = f"/common-status/v1/12345/job/{key.job_id}"
        asked = [base, f"{base}/events", f"{base}/events?showAll=true&order=desc", f"{base}/events?showAll=1&rows=333"]
        asked += [f"{base}/records?outcome={outcome}" for outcome in ("succeeded", "failed", "unprocessed")]
        found: dict[str, Answer] = {}
        while asked:
            url = asked.pop()
            response = await self._client.get(url, headers={"Authorization": "Bearer good"})
            found[url] = response.status, response.headers.get("ETag"), await response.read()
            # A link contains the position, so equal positions give equal links.
            asked += [str(URL(str(link["url"])).relative()) for name, link in response.links.items() if name == "next"]
        return found


@pytest.fixture
async def harness(mongodb_uri: str) -> AsyncIterator[StatusHarness]:
    settings = MongoSettings(mongodb_uri=mongodb_uri, mongodb_database=f"t{uuid4().hex[:12]}")
    mongo = Mongo.connect(settings, retry_writes=False)
    jobs, notifier = MongoJobStore(mongo, now=lambda: datetime.now(UTC)), JobNotifier(max_waiters=2)
    await jobs.create_indexes(retention_days=30)
    api = build_api(
        jobs,
        notifier,
        RequestAuthenticator(FakeVerifier(), FakeSites()),  # type: ignore[arg-type]
        page_token_key="a secret of sixteen",
        requests_per_second=1_000_000,
        schemas_dir=REPOSITORY / "schemas",
        now_us=lambda: 0,
        clock_s=lambda: 0.0,
    )
    deps = apply_events.Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=notifier,
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    async with TestClient(TestServer(build_application(api.routes()))) as client:
        yield StatusHarness(client, deps)
    await mongo.client.drop_database(settings.mongodb_database)
    await mongo.close()


async def test_answers_from_mongodb_are_those_from_memory(harness: StatusHarness, api: ApiClient) -> None:
    """Queries load only the fields that the response needs: none may be missing."""
    chance = random.Random(2)  # noqa: S311 - it has to be repeatable
    there = StatusHarness(api.client, api.deps)
    for total in (3, 700):
        header = a_header(total, key=JobKey(608, str(uuid4())))
        verdicts = "".join(chance.choice("SF") for _ in range(total))
        topic = [opened(header), judged(a_run(verdicts), header)]
        for one in (harness, there):
            await one.read(topic)
        assert await harness.answers(header.key) == await there.answers(header.key)


async def test_the_whole_history_read_again_leaves_every_answer_as_it_was(harness: StatusHarness) -> None:
    """Breaks: all offsets are lost, once in the middle and once at the end; late verdicts and expiry included.

    Must hold: every answer and its ETag are the same, byte for byte. Known by comparing all pages of all calls.
    """
    chance = random.Random(1)  # noqa: S311 - it has to be repeatable
    keys = [JobKey(608, str(uuid4())) for _ in range(JOBS)]
    streams = [a_stream(chance, key)[0] for key in keys]
    topic = [event for stream in streams for event in stream]
    # As partitions mix jobs: the events of each stay in order.
    order = chance.sample([number for number, stream in enumerate(streams) for _ in stream], len(topic))
    rests = [iter(stream) for stream in streams]
    topic = [next(rests[number]) for number in order]
    await harness.read(topic[: len(topic) // 2])
    await harness.read(topic)
    before = [await harness.answers(key) for key in keys]
    assert {answer[0] for answers in before for answer in answers.values()} == {200}
    await harness.read(topic)
    assert [await harness.answers(key) for key in keys] == before
