"""The ledger's API over a real MongoDB, and a client of it that records sales as well."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import jsonschema
import pytest
import yaml
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from services.chassis.http.page_limits import PageLimits
from services.chassis.http.rate_limit import RateLimit
from services.chassis.http.server import build_application
from services.chassis.http.shared_rate_limit import SharedRateLimit
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnauthorizedError
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.authentication import RequestAuthenticator
from services.chassis.security.tokens import Token
from services.ledger.app import build_api
from services.ledger.http.access import Access
from services.ledger.http.erasures import ErasureApi
from services.sales.records import SalesRecord
from services.values.sites import ApiKey, Site
from tests.ledger.harness import Harness
from tests.support.audit_log import FakeAuditLog

_SITES = count(10_000)
MANY_READERS = [f"reader-{number}" for number in range(5)]
SCOPES = {
    "reader": {"sales:read"},
    "eraser": {"sales:erase"},
    "narrow": {"other"},
    **{reader: {"sales:read"} for reader in MANY_READERS},
}


class FakeVerifier:
    """Accepts a token for each set of scopes."""

    def __init__(self, site: int) -> None:
        self._site = site

    def cached(self, token: str) -> Token | None:
        if token not in SCOPES:
            return None
        return Token(
            client_id=token,
            site=self._site,
            api_keys=frozenset({"12345"}),
            scopes=frozenset(SCOPES[token]),
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    """One site."""

    def __init__(self, site: int) -> None:
        self._site = site

    def by_api_key(self, api_key: str) -> Site | None:
        if api_key != "12345":
            return None
        return Site(
            site=self._site,
            name="Demo",
            app_id=1,
            root_source="r",
            datacenter="qa",
            api_keys=(ApiKey(api_key=api_key),),
            report_currency="EUR",
        )


@dataclass
class ApiClient:
    """A client of the API of one site, which also records."""

    client: TestClient[Any, Any]
    harness: Harness
    site: int
    page_limits: PageLimits
    wakes: list[None] = field(default_factory=list)
    audit_lines: list[dict[str, object]] = field(default_factory=list)

    async def get(self, path: str, *, who: str = "reader", headers: Any = None, **query: Any) -> ClientResponse:
        return await self.call("GET", path, who=who, headers=headers, **query)

    async def call(
        self, method: str, path: str, *, who: str = "reader", headers: Any = None, **query: Any
    ) -> ClientResponse:
        return await self.client.request(
            method,
            f"/ledger/v1/12345{path}",
            params={name.rstrip("_"): str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {who}", **(headers or {})},
        )

    async def read(self, path: str, **query: Any) -> Any:
        response = await self.get(path, **query)
        assert response.status == 200, await response.text()
        return json.loads(await response.text())

    async def problem(self, path: str, **query: Any) -> tuple[int, str]:
        response = await self.get(path, **query)
        return response.status, json.loads(await response.text())["code"]


@pytest.fixture
async def api(mongo: Mongo) -> AsyncIterator[ApiClient]:
    """The API of a site of its own."""
    harness, site = Harness(mongo), next(_SITES)
    access = Access(
        authenticator=RequestAuthenticator(FakeVerifier(site), FakeSites(site)),  # type: ignore[arg-type]
        is_started=lambda: True,
        rate_limit=SharedRateLimit(RateLimit(), url=None),
        requests_per_second=1_000,
    )
    wakes: list[None] = []
    reading = build_api(
        harness.query_deps,
        access,
        site_key=harness.keys.of_site,
        page_token_key="a secret of sixteen",
        schemas_dir=REPOSITORY / "schemas",
        now_us=harness.now_us,
    )
    audit_log = FakeAuditLog()
    erasing = ErasureApi(deps=harness.erase_deps, access=access, audit_log=audit_log, wake=lambda: wakes.append(None))
    async with TestClient(TestServer(build_application([*reading.routes(), *erasing.routes()]))) as client:
        yield ApiClient(client, harness, site, reading.page_limits, wakes, audit_log.lines)


DOCUMENT: Any = yaml.safe_load((REPOSITORY / "schemas/openapi/ledger.yaml").read_text(encoding="utf-8"))


def matches(body: Any, name: str) -> None:
    jsonschema.validate(body, {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]})


async def record(api: ApiClient, *records: SalesRecord) -> None:
    await api.harness.record(*records)
