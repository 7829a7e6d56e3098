"""A replica of status' API for `bench.status`, without Kafka and auth; only database changes wake waiting clients.

`python -m bench.status_replica CORE`; settings come from the environment.
"""

import os
import sys
import time
from datetime import UTC, datetime

from services.chassis.http.server import HttpServer, build_application
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime import lifecycle
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.health import Health
from services.chassis.runtime.settings import REPOSITORY, ApiSettings, MongoSettings, ServiceSettings, load
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.status.adapters.job_loader import JobLoader
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobChangeListener, JobNotifier
from services.status.app import build_api
from services.values.sites import ApiKey, Site

API_KEY = "12345"
TOKEN = Token(
    client_id="bench",
    site=608,
    api_keys=frozenset({API_KEY}),
    scopes=frozenset({"status:read", "sales:read"}),
    issued_at=0,
    expires_at=2**40,
    token_id="bench",  # noqa: S106 - a name, no secret
)
SITE = Site(
    site=608,
    name="Bench",
    app_id=1078,
    root_source="omnichannel-api/qa",
    datacenter="qa",
    api_keys=(ApiKey(api_key=API_KEY),),
)


class Settings(ServiceSettings, ApiSettings, MongoSettings):
    """Settings of HTTP and MongoDB."""


class FakeVerifier:
    """A verifier that has the benchmark's token in its cache."""

    def __init__(self) -> None:
        self._tokens = {TOKEN.token_id: TOKEN}

    def cached(self, token: str) -> Token | None:
        """Return the token."""
        return self._tokens.get(token)

    async def verify(self, token: str) -> Token:
        """Raise: all requests have the cached token."""
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    """Contains the one site."""

    def by_api_key(self, api_key: str) -> Site | None:
        """Return the site for its key."""
        return SITE if api_key == API_KEY else None


async def build(settings: Settings) -> lifecycle.Service:
    """Build the API with the change stream that wakes waiting clients."""
    mongo = Mongo.connect(settings, retry_writes=False)
    notifier = JobNotifier(max_waiters=1_000)
    jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    api = build_api(
        JobLoader(jobs),
        notifier,
        RequestAuthenticator(FakeVerifier(), FakeSites()),  # type: ignore[arg-type]
        page_token_key="a secret of the benchmark",  # noqa: S106 - signs nothing of value
        requests_per_second=10**9,
        schemas_dir=REPOSITORY / "schemas",
        now_us=lambda: 0,
    )
    return lifecycle.Service(
        name="status",
        health=Health(),
        components=(
            mongo,
            JobChangeListener(mongo, notifier, clock_s=time.monotonic),
            HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port),
        ),
    )


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    settings = load(Settings)
    lifecycle.run("status", settings, lambda: build(settings))
