"""A replica of status for `bench.status`: the API over the store, without Kafka and without an issuer of tokens.

It is woken by changes in the database only. `python -m bench.status_replica CORE`; the rest comes from the environment.
"""

import os
import sys
import time
from datetime import UTC, datetime

from services.chassis.http.ratelimit import RateLimit
from services.chassis.http.server import HttpServer, build_application
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime import lifecycle
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.health import Health
from services.chassis.runtime.settings import REPOSITORY, ApiSettings, MongoSettings, ServiceSettings, load
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.status.adapters.change_stream import ChangeStreamListener
from services.status.adapters.job_loader import JobLoader
from services.status.adapters.job_store import MongoJobStore
from services.status.adapters.notifier import JobNotifier
from services.status.flows import queries
from services.status.http.jobs import StatusApi
from services.status.http.page_tokens import PageTokens
from services.values.sites import ApiKey, Site

API_KEY = "12345"
TOKEN = Token(
    client_id="bench",
    site=608,
    api_keys=frozenset({API_KEY}),
    scopes=frozenset({"status:read"}),
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
    """Where to listen, and where the jobs are."""


class FakeVerifier:
    """As the verifier is once it has seen the token."""

    def __init__(self) -> None:
        self._known = {TOKEN.token_id: TOKEN}

    def cached(self, token: str) -> Token | None:
        """Always the same."""
        return self._known.get(token)

    async def verify(self, token: str) -> Token:
        """Never: all callers come with the token that is remembered."""
        raise UnauthorizedError(f"{len(token)} characters of nothing")


class FakeSites:
    """Knows the one site."""

    def by_api_key(self, api_key: str) -> Site | None:
        """The site, if it is its key."""
        return SITE if api_key == API_KEY else None


async def build(settings: Settings) -> lifecycle.Service:
    """The parts that answer."""
    mongo = Mongo.connect(settings, retry_writes=False)
    bell = JobNotifier(max_waiters=1_000)
    jobs = MongoJobStore(mongo, now=lambda: datetime.now(UTC))
    api = StatusApi(
        deps=queries.Deps(jobs=JobLoader(jobs), waiters=bell, now_us=lambda: 0, clock_s=time.monotonic),
        authenticator=RequestAuthenticator(FakeVerifier(), FakeSites()),  # type: ignore[arg-type]
        tokens=PageTokens("a secret of the benchmark"),
        rate_limit=RateLimit(),
        requests_per_second=10**9,
        openapi=REPOSITORY / "schemas" / "openapi" / "common-status.yaml",
    )
    return lifecycle.Service(
        name="status",
        health=Health(),
        components=(
            mongo,
            ChangeStreamListener(mongo, bell, clock_s=time.monotonic),
            HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port),
        ),
    )


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    told = load(Settings)
    lifecycle.run("status", told, lambda: build(told))
