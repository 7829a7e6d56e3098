"""The status API over jobs in memory, and a client of it that applies events as well."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http.page_limits import PageLimits
from services.chassis.http.server import build_application
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.jobs.events import JobEvent, JobKey
from services.status.adapters.notifier import JobNotifier
from services.status.app import build_api
from services.status.flows import apply_events
from services.values.sites import ApiKey, Site
from tests.jobs.events import CREATED_US, JOB
from tests.status.fakes import FakeFinishedPublisher, FakeSiteProfiles, MemoryJobStore

JOB_PATH = f"/common-status/v1/12345/job/{JOB.job_id}"


class FakeVerifier:
    """Accepts four tokens; the apiKey of `moved` belongs to another site now, and the site of `tokyo` is there."""

    def cached(self, token: str) -> Token | None:
        known = {
            "good": (608, "12345", "status:read"),
            "narrow": (608, "12345", "other"),
            "moved": (608, "67890", "status:read"),
            "tokyo": (610, "tokyo", "status:read"),
        }.get(token)
        if known is None:
            return None
        return Token(
            client_id=token,
            site=known[0],
            api_keys=frozenset({known[1]}),
            scopes=frozenset({known[2]}),
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    def by_api_key(self, api_key: str) -> Site | None:
        numbers = {"12345": 608, "67890": 609, "tokyo": 610}
        if api_key not in numbers:
            return None
        return Site(
            site=numbers[api_key],
            name="Demo",
            app_id=1078,
            root_source="omnichannel-api/qa",
            datacenter="qa",
            time_zone="Asia/Tokyo" if api_key == "tokyo" else "UTC",
            api_keys=(ApiKey(api_key=api_key),),
        )


@dataclass
class ApiClient:
    """A client of the API that can also apply events to the jobs."""

    client: TestClient[Any, Any]
    jobs: MemoryJobStore
    deps: apply_events.Deps
    notifier: JobNotifier
    page_limits: PageLimits
    now_us: list[int] = field(default_factory=lambda: [CREATED_US + 3_600_000_000])

    async def apply(self, *events: JobEvent) -> None:
        await apply_events.apply_events(events, self.deps)

    async def get(self, path: str, *, headers: Any = None, who: str = "good", **query: Any) -> ClientResponse:
        return await self.client.get(
            path,
            params={name: str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {who}", **(headers or {})},
        )

    async def read(self, path: str = JOB_PATH + "/events", *, headers: Any = None, **query: Any) -> Any:
        response = await self.get(path, headers=headers, **query)
        assert response.status == 200, await response.text()
        return json.loads(await response.text())


@pytest.fixture
async def api() -> AsyncIterator[ApiClient]:
    jobs, notifier = MemoryJobStore(), JobNotifier(max_waiters=2)
    writing = apply_events.Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=notifier,
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    now_us = [CREATED_US + 3_600_000_000]
    api = build_api(
        jobs,
        notifier,
        RequestAuthenticator(FakeVerifier(), FakeSites()),  # type: ignore[arg-type]
        page_token_key="a secret of sixteen",
        requests_per_second=50,
        schemas_dir=REPOSITORY / "schemas",
        now_us=lambda: now_us[0],
    )
    async with TestClient(TestServer(build_application(api.routes()))) as client:
        yield ApiClient(client, jobs, writing, notifier, api.page_limits, now_us)


EXAMPLES = json.loads((Path(__file__).parent / "printed.json").read_text(encoding="utf-8"))


def a_key(job_id: str) -> JobKey:
    return JobKey(608, job_id)
