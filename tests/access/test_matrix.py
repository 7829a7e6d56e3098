"""Every address of every API, as its own route table has it: strangers, foreign tokens and lesser tokens are refused.

What a service stands on is not started here: a request that got past the checks would end in a 500, and be seen.
"""

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from services import topics
from services.auth.domain.audience import AUDIENCES
from services.chassis.avro.records import encode_record
from services.chassis.avro.schemas import Schemas
from services.chassis.http.server import HttpServer
from services.chassis.kafka.compacted_table import CompactedTable
from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.background import StartupTask
from services.chassis.runtime.lifecycle import Service
from services.chassis.runtime.settings import REPOSITORY
from services.chassis.security.jwks import Jwks
from services.fulfilment import app as fulfilment
from services.fulfilment.settings import Settings as FulfilmentSettings
from services.ingest import app as ingest
from services.ingest.settings import Settings as IngestSettings
from services.ledger import app as ledger
from services.ledger.settings import Settings as LedgerSettings
from services.status import app as status
from services.status.settings import Settings as StatusSettings
from services.values.sites import ApiKey, Site
from services.webhooks import app as webhooks
from services.webhooks.settings import Settings as WebhooksSettings

ISSUER = "https://matrix.tillstream.example"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
SECRET = base64.b64encode(b"k" * 32).decode()
OWN, FOREIGN = 608, 609
API_KEYS = {OWN: "own-key", FOREIGN: "foreign-key"}

# Described to everybody: documents and contracts, and nothing of any tenant's.
PUBLIC = re.compile(
    r"/(omnichannel|common-status|fulfilment|ledger|events)/openapi\.yaml|/registry(/.*)?|/events/v1/keys"
)
IMPORT, STATUS, FULFILMENT = "/omnichannel/api/v1/{apiKey}", "/common-status/v1/{apiKey}", "/fulfilment/v1"
EVENTS = "/events/v1/{apiKey}"
LEDGER = "/ledger/v1/{apiKey}"
# The scope that each address wants; None where any token of the API will do: a client's own limits.
REQUIRED_SCOPES = {
    ("GET", f"{IMPORT}/limits"): None,
    ("POST", f"{IMPORT}/orders"): "orders:write",
    ("PUT", f"{IMPORT}/orders/users/{{userId}}"): "orders:write",
    ("POST", f"{IMPORT}/returns"): "returns:write",
    ("PUT", f"{IMPORT}/returns/users/{{userId}}"): "returns:write",
    ("GET", f"{STATUS}/jobs"): "status:read",
    ("GET", f"{STATUS}/job/{{jobId}}"): "status:read",
    ("GET", f"{STATUS}/job/{{jobId}}/events"): "status:read",
    ("GET", f"{STATUS}/job/{{jobId}}/records"): "status:read",
    ("GET", f"{LEDGER}/users/{{userId}}/orders"): "sales:read",
    ("GET", f"{LEDGER}/orders/{{orderId}}"): "sales:read",
    ("GET", f"{LEDGER}/reports/sales"): "sales:read",
    ("GET", f"{LEDGER}/exports/orders"): "sales:read",
    ("DELETE", f"{LEDGER}/users/{{userId}}"): "sales:erase",
    ("GET", f"{LEDGER}/erasures/{{receiptId}}"): "sales:erase",
    ("POST", f"{FULFILMENT}/orders"): "orders:create",
    ("GET", f"{FULFILMENT}/orders"): "orders:read",
    ("GET", f"{FULFILMENT}/orders/{{transactionId}}"): "orders:read",
    ("GET", f"{FULFILMENT}/orders/{{transactionId}}/codes"): "codes:read",
    ("GET", f"{FULFILMENT}/purchase-orders"): "invoices:read",
    ("GET", f"{FULFILMENT}/purchase-orders/{{id}}"): "invoices:read",
    ("GET", f"{FULFILMENT}/invoices"): "invoices:read",
    ("GET", f"{FULFILMENT}/invoices/{{id}}"): "invoices:read",
    ("POST", f"{FULFILMENT}/stock/{{sku}}/codes"): "stock:write",
    ("PUT", f"{FULFILMENT}/products/{{sku}}"): "stock:write",
    ("GET", f"{EVENTS}/events"): "events:read",
    ("POST", f"{EVENTS}/endpoints"): "webhooks:write",
    ("GET", f"{EVENTS}/endpoints"): "events:read",
    ("GET", f"{EVENTS}/endpoints/{{endpointId}}"): "events:read",
    ("PATCH", f"{EVENTS}/endpoints/{{endpointId}}"): "webhooks:write",
    ("DELETE", f"{EVENTS}/endpoints/{{endpointId}}"): "webhooks:write",
    ("POST", f"{EVENTS}/endpoints/{{endpointId}}/rotate"): "webhooks:write",
    ("GET", f"{EVENTS}/endpoints/{{endpointId}}/deliveries"): "events:read",
    ("POST", f"{EVENTS}/endpoints/{{endpointId}}/replay"): "webhooks:write",
    ("GET", f"{EVENTS}/endpoints/{{endpointId}}/replays/{{replayId}}"): "events:read",
    ("DELETE", f"{EVENTS}/endpoints/{{endpointId}}/replays/{{replayId}}"): "webhooks:write",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUnderTest:
    """A service, as it is composed in production."""

    name: str
    audience: str
    build: Callable[[Any], Awaitable[Service]]
    settings: Callable[..., Any]
    environment: Mapping[str, str] = field(default_factory=dict)


APIS = {
    "ingest": ApiUnderTest(name="ingest", audience="omnichannel-api", build=ingest.build, settings=IngestSettings),
    "status": ApiUnderTest(
        name="status",
        audience="common-status",
        build=status.build,
        settings=StatusSettings,
        environment={"page_token_key": SECRET},
    ),
    "ledger": ApiUnderTest(
        name="ledger",
        audience="ledger",
        build=ledger.build,
        settings=LedgerSettings,
        environment={"page_token_key": SECRET, "erasure_key": SECRET},
    ),
    "fulfilment": ApiUnderTest(
        name="fulfilment",
        audience="fulfilment",
        build=fulfilment.build,
        settings=FulfilmentSettings,
        environment={"page_token_key": SECRET, "code_encryption_keys": SECRET, "code_digest_key": SECRET},
    ),
    "webhooks": ApiUnderTest(
        name="webhooks",
        audience="events",
        build=webhooks.build,
        settings=WebhooksSettings,
        environment={
            "page_token_key": SECRET,
            "webhooks_encryption_keys": SECRET,
            "webhooks_signing_keys": SECRET,
        },
    ),
}


def a_token(audience: str, scope: str, *, site: int = OWN, api_keys: tuple[str, ...] = (API_KEYS[OWN],)) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": audience, "sub": "c", "site": site, "api_keys": api_keys, "scope": scope}
    body = json.dumps({**claims, "iat": now, "exp": now + 600, "jti": f"{audience} {scope} {site}"})
    return jwt.api_jws.encode(body.encode(), KEY, "RS256", headers={"kid": "k", "typ": "at+jwt"})


def all_scopes(audience: str) -> tuple[str, ...]:
    return next(each.scopes for each in AUDIENCES if each.name == audience)


@dataclass
class ApiClient:
    """A composed service's API behind real HTTP."""

    api: ApiUnderTest
    http: TestClient[web.Request, web.Application]
    app: web.Application

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Its route table: method and template."""
        return [
            (route.method, route.resource.canonical)
            for route in self.app.router.routes()
            if route.resource is not None and route.method != "HEAD"
        ]

    @property
    def protected_routes(self) -> list[tuple[str, str]]:
        """The addresses that are not everybody's."""
        return [route for route in self.routes if not PUBLIC.fullmatch(route[1])]

    async def request(self, method: str, template: str, token: str | None) -> tuple[int, str]:
        """The status and the challenge of a request to an address of the site that is `OWN`."""
        path = re.sub(r"\{[^}]*\}", "x", template.replace("{apiKey}", API_KEYS[OWN]))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if method in {"POST", "PUT", "PATCH"}:
            headers["Content-Type"] = "application/json"
        async with self.http.request(method, path, headers=headers, data=b"{}" if method != "GET" else None) as answer:
            await answer.read()
            return answer.status, answer.headers.get("WWW-Authenticate", "")


async def publish_keys() -> TestServer:
    """The issuer of the tokens here."""
    jwk = {**RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k", "use": "sig", "alg": "RS256"}

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"keys": [jwk]})

    app = web.Application()
    app.router.add_get("/keys", answer)
    server = TestServer(app)
    await server.start_server()
    return server


@pytest.fixture(params=APIS, scope="module")
async def client(request: pytest.FixtureRequest) -> AsyncIterator[ApiClient]:
    """The service's API, with two sites and the issuer's keys, and nothing else of what it needs."""
    api = APIS[request.param]
    keys = await publish_keys()
    settings = api.settings(
        auth_issuer=ISSUER,
        auth_jwks_url=str(keys.make_url("/keys")),
        mongodb_uri="mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=20",
        mongodb_timeout_ms=100,
        kafka_bootstrap_servers="127.0.0.1:1",
        http_port=0,
        **api.environment,
    )
    service = await api.build(settings)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(keys.close)
        for part in service.components:
            if isinstance(part, CompactedTable):
                part._caught_up.set()
            if isinstance(part, CompactedTable) and part._topic == topics.AUTH_SITES.name:
                for site in (OWN, FOREIGN):
                    fields = a_site(site).to_fields()
                    part._apply(str(site).encode(), encode_record(fields, SCHEMAS["site"]))
            if isinstance(part, StartupTask):
                part.is_done = True
            if isinstance(part, Mongo):
                stack.push_async_callback(part.close)
            if isinstance(part, Jwks):
                assert await part.refresh()
                stack.push_async_callback(part.stop)
        app = next(part._runner.app for part in reversed(service.components) if isinstance(part, HttpServer))
        client = TestClient(TestServer(app))
        await stack.enter_async_context(client)
        yield ApiClient(api, client, app)


SCHEMAS = Schemas.load(REPOSITORY / "schemas")


def a_site(number: int) -> Site:
    keys = (ApiKey(api_key=API_KEYS[number]),)
    return Site(site=number, name="n", app_id=1, root_source="r", datacenter="d", api_keys=keys)


async def assert_refused(client: ApiClient, method: str, template: str) -> dict[str, tuple[int, str]]:
    """What each kind of caller who must not get in is told."""
    audience = client.api.audience
    every = " ".join(all_scopes(audience))
    others = next(each for each in AUDIENCES if each.name != audience)
    tokens = {
        "nobody": None,
        "an invalid token": "x.y.z",
        "a token of another API": a_token(others.name, " ".join(others.scopes)),
        "a token of another API that claims these scopes": a_token(others.name, every),
        "an administrator of auth": a_token("auth-admin", "admin", site=0, api_keys=()),
    }
    needed = REQUIRED_SCOPES[method, template]
    if needed is not None:
        lesser = [scope for scope in all_scopes(audience) if scope != needed]
        tokens["every scope but the one that is needed"] = a_token(audience, " ".join(["something:else", *lesser]))
    if "{apiKey}" in template:
        foreign = API_KEYS[FOREIGN]
        tokens["another tenant"] = a_token(audience, every, site=FOREIGN, api_keys=(foreign,))
        tokens["another tenant that was given this key"] = a_token(
            audience, every, site=FOREIGN, api_keys=(API_KEYS[OWN],)
        )
        tokens["this tenant without this key"] = a_token(audience, every, api_keys=("another-key",))
    return {who: await client.request(method, template, token) for who, token in tokens.items()}


INVALID = (401, 'Bearer error="invalid_token"')
REFUSALS = {
    "nobody": (401, "Bearer"),
    "an invalid token": INVALID,
    "a token of another API": INVALID,
    "a token of another API that claims these scopes": INVALID,
    "an administrator of auth": INVALID,
}


async def test_every_address_refuses_whoever_must_not_get_in(client: ApiClient) -> None:
    for method, template in client.protected_routes:
        for who, told in (await assert_refused(client, method, template)).items():
            wanted = REFUSALS.get(who, (403, 'Bearer error="insufficient_scope"'))
            assert told == wanted, f"{who}: {method} {template}"


async def test_the_one_scope_that_is_needed_gets_past_these_checks(client: ApiClient) -> None:
    """Otherwise the refusals would show nothing."""
    for method, template in client.protected_routes:
        token = a_token(client.api.audience, REQUIRED_SCOPES[method, template] or "something:else")
        status, _ = await client.request(method, template, token)
        assert status not in {401, 403}, f"{method} {template}"


async def test_public_addresses_are_few_and_need_no_token(client: ApiClient) -> None:
    for method, template in client.routes:
        if PUBLIC.fullmatch(template) and template.endswith("openapi.yaml"):
            assert (await client.request(method, template, None))[0] == 200


async def test_each_address_is_decided_upon(client: ApiClient) -> None:
    """An address that is added has no scope until somebody says which."""
    base = {"ingest": IMPORT, "status": STATUS, "fulfilment": FULFILMENT, "ledger": LEDGER, "webhooks": EVENTS}[
        client.api.name
    ]
    assert sorted(client.protected_routes) == sorted(route for route in REQUIRED_SCOPES if route[1].startswith(base))


def test_every_service_with_an_api_is_here() -> None:
    """Auth's own, which hands the tokens out, is in `tests/auth/test_admin.py`. The validator's knows no tokens.

    Only ingest may reach it: `tests/deploy/test_manifests.py`. The operators' is in `tests/operator/test_api.py`. The
    portal's pages know sessions instead of tokens: `tests/portal/test_access.py`.
    """
    described = {*APIS, "auth", "chassis", "operator", "portal", "validator"}
    assert {path.parent.name for path in (REPOSITORY / "services").glob("*/http")} == described
