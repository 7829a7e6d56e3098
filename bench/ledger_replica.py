"""A replica of the ledger's API for `bench.ledger`, without Kafka and auth.

`python -m bench.ledger_replica CORE`; settings come from the environment.
"""

import os
import sys

from bench.status_replica import FakeSites, FakeVerifier, Settings
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import HttpServer, build_application
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime import lifecycle
from services.chassis.runtime.health import Health
from services.chassis.runtime.settings import REPOSITORY, load
from services.chassis.security.authentication import RequestAuthenticator
from services.ledger.adapters.entries import MongoEntryReader
from services.ledger.adapters.sums import MongoSums
from services.ledger.adapters.zones import SiteZones
from services.ledger.app import build_api
from services.ledger.flows import queries
from services.ledger.http.access import Access


async def build(settings: Settings) -> lifecycle.Service:
    """Build the API over the benchmark's database."""
    mongo = Mongo.connect(settings)
    deps = queries.Deps(
        entries=MongoEntryReader(mongo), reports=MongoSums(mongo), zones=SiteZones(None), as_of_us=lambda: 0
    )
    access = Access(
        authenticator=RequestAuthenticator(FakeVerifier(), FakeSites()),  # type: ignore[arg-type]
        is_started=lambda: True,
        rate_limit=SharedRateLimit(RateLimit(), url=None),
        requests_per_second=10**9,
    )
    api = build_api(
        deps,
        access,
        site_key=lambda _: b"k",
        page_token_key="a secret of the benchmark",  # noqa: S106 - signs nothing of value
        schemas_dir=REPOSITORY / "schemas",
    )
    server = HttpServer(build_application(api.routes()), host=settings.http_host, port=settings.http_port)
    return lifecycle.Service(name="ledger", health=Health(), components=(mongo, server))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    settings = load(Settings)
    lifecycle.run("ledger", settings, lambda: build(settings))
