"""The admin API over real HTTP."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from aiohttp.test_utils import TestClient, TestServer

from services.auth.domain.audience import ADMIN
from services.auth.flows.management import ManagementDeps
from services.auth.http import admin, oauth
from services.auth.http.admin import AdminDeps
from services.chassis.http.server import build_application
from services.chassis.http.source_address import parse_networks
from tests.auth.fakes import FakePublisher, FakeSiteStore, IdSequence
from tests.auth.harness import ISSUER, OPENAPI, SECRET, AuthHarness, a_client

BASE = "/auth-admin/v1"
INVALID = 'Bearer error="invalid_token"'
INSUFFICIENT = 'Bearer error="insufficient_scope"'
SITE = {
    "site": 700,
    "name": "New",
    "appId": 1,
    "rootSource": "r",
    "datacenter": "qa",
    "timeZone": "UTC",
    "apiKeys": [{"apiKey": "777", "channel": None}],
    "recordsPerSecond": 100,
    "invoiceEmail": None,
    "invoiceAddress": "1 Main St\nTown",
    "taxId": None,
    "reportCurrency": "USD",
}
CREDENTIALS = {"grant_type": "client_credentials", "client_id": "admin", "client_secret": SECRET}


@dataclass
class AdminClient:
    """Calls the admin API with an administrator's token."""

    http: TestClient  # type: ignore[type-arg] # aiohttp's own generic
    publisher: FakePublisher
    token: str

    async def request(
        self, method: str, path: str, *, json: object = None, token: str | None = None
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
        response = await self.http.request(method, BASE + path, json=json, headers=headers)
        return response.status, await response.json(content_type=None)


@pytest.fixture
async def api(auth: AuthHarness) -> AsyncIterator[AdminClient]:
    await auth.clients.save(a_client(client_id="admin", site=0, api_keys=(), scopes=ADMIN.scopes))
    management = ManagementDeps(
        sites=FakeSiteStore(),
        clients=auth.clients,
        revocations=auth.revocations,
        hasher=auth.hasher,
        publisher=auth.publisher,
        audit=auth.audit,
        now=auth.clock,
        new_id=IdSequence(),
        new_secret=lambda: "canary-new-secret",
        actor="auth",
        source="auth",
    )
    deps = AdminDeps(
        tokens=auth.deps,
        management=management,
        keys=auth.key_rotation,
        verify=auth.introspector.verify_admin,
        manage_when=lambda: True,
        proxies=parse_networks("127.0.0.0/8"),
        openapi=OPENAPI.with_name("auth-admin.yaml"),
    )
    async with TestClient(TestServer(build_application(admin.build_routes(deps)))) as http:
        response = await http.post(ADMIN.token_path, data=CREDENTIALS)
        yield AdminClient(http, auth.publisher, (await response.json())["access_token"])


async def test_a_site_is_added_and_published(api: AdminClient) -> None:
    assert await api.request("PUT", "/sites/700", json=SITE) == (200, SITE)
    assert await api.request("GET", "/sites/700") == (200, SITE)
    assert await api.request("GET", "/sites") == (200, [SITE])
    assert [site.site for site in api.publisher.sites] == [700]


async def test_a_client_and_its_secrets_come_and_go(auth: AuthHarness, api: AdminClient) -> None:
    await api.request("PUT", "/sites/700", json=SITE)
    document = {"clientId": "new", "site": 700, "apiKeys": ["777"]}
    assert await api.request("POST", "/clients", json=document) == (
        201,
        {"clientId": "new", "secret": "canary-new-secret"},
    )
    assert (await api.request("POST", "/clients/new/secrets?graceHours=1"))[0] == 201
    assert (await api.request("POST", "/clients/new/secrets"))[0] == 409
    _, client = await api.request("GET", "/clients/new")
    first, second = [secret["id"] for secret in client["secrets"]]
    assert (await api.request("DELETE", f"/clients/new/secrets/{first}"))[0] == 204
    assert (await api.request("DELETE", f"/clients/new/secrets/{second}"))[0] == 409
    assert (await api.request("POST", "/clients/new/revocations"))[0] == 204
    assert (await api.request("POST", "/tokens/0f0f/revocations"))[0] == 204
    assert [revocation.key for revocation in api.publisher.revocations] == ["new", "0f0f"]
    status, changed = await api.request("PATCH", "/clients/new", json={"scopes": ["status:read"]})
    assert (status, changed["scopes"], changed["apiKeys"]) == (200, ["status:read"], ["777"])
    assert (await api.request("PATCH", "/clients/new", json={"apiKeys": ["888"]}))[0] == 400
    assert (await api.request("PATCH", "/clients/new", json={"scopes": ["all"]}))[0] == 400
    assert (await api.request("PATCH", "/clients/nobody", json={}))[0] == 404
    assert {line["actor"] for line in auth.audit.lines[-5:]} == {"admin"}
    assert "canary" not in str(client) + str(auth.audit.lines)


async def test_the_secrets_before_a_new_one_end_after_so_many_hours(auth: AuthHarness, api: AdminClient) -> None:
    assert (await api.request("POST", "/clients/client-1/secrets?graceHours=24"))[0] == 201
    _, client = await api.request("GET", "/clients/client-1")
    assert [secret["expiresAt"] for secret in client["secrets"]] == [int(auth.clock.at) + 24 * 3_600, None]


async def test_while_revocations_are_not_known_nobody_administers(auth: AuthHarness, api: AdminClient) -> None:
    auth.revocations_loaded = False
    assert (await api.request("GET", "/sites"))[0] == 503


async def test_keys_are_listed_and_rotated(auth: AuthHarness, api: AdminClient) -> None:
    _, before = await api.request("GET", "/keys")
    status, after = await api.request("POST", "/keys")
    assert status == 201
    assert [key["number"] for key in after] == [1, 2]
    assert after[:1] == before
    assert after[1]["signsFrom"] - after[0]["signsFrom"] == 600
    assert all(key.keys() == {"number", "kid", "algorithm", "signsFrom"} for key in after)
    assert (auth.audit.lines[-1]["action"], auth.audit.lines[-1]["actor"]) == ("signing key added", "admin")


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/sites/1", None, 404),
        ("GET", "/sites/x", None, 404),
        ("GET", "/clients/nobody", None, 404),
        ("PUT", "/sites/701", SITE, 400),
        ("PUT", "/sites/700", {}, 400),
        ("PUT", "/sites/700", {**SITE, "apiKeys": [{"apiKey": "777"}, {"apiKey": "777"}]}, 400),
        ("PUT", "/sites/700", {**SITE, "invoiceEmail": "books@shop.example\r\nBcc: canary@shop.example"}, 400),
        ("POST", "/clients", {"clientId": "x", "site": 999}, 400),
        ("POST", "/clients", {"clientId": "x", "site": 700, "secret": "canary"}, 400),
        ("POST", "/clients", {"clientId": "client-1", "site": 0, "scopes": ["admin"]}, 409),
        ("POST", "/clients/client-1/secrets?graceHours=-1", None, 400),
        ("POST", "/clients/nobody/revocations", None, 404),
        ("POST", "/clients/nobody/secrets", None, 404),
        ("POST", "/tokens/canary.canary.canary/revocations", None, 409),
        ("DELETE", "/clients/client-1/secrets/canary", None, 409),
        ("POST", "/clients", {"clientId": "with:colon", "site": 700}, 400),
        ("DELETE", "/sites/700", None, 405),
    ],
)
async def test_what_is_not_possible_is_a_problem(
    api: AdminClient, method: str, path: str, body: object, status: int
) -> None:
    status_code, problem = await api.request(method, path, json=body)
    assert (status_code, problem["status"]) == (status, status)
    assert "canary" not in str(problem)


async def test_every_route_refuses_all_but_administrators(auth: AuthHarness, api: AdminClient) -> None:
    """All routes of the table; public are only the document and the token endpoint."""
    application = api.http.app
    assert application is not None
    routes = {(route.method, route.resource.canonical) for route in application.router.routes() if route.resource}
    guarded = {(method, path) for method, path in routes if path.startswith(BASE) and path != ADMIN.token_path}
    assert {path for _, path in routes - guarded} == {"/auth-admin/openapi.yaml", ADMIN.token_path}
    now = int(auth.clock())
    claims = {"iss": ISSUER, "sub": "admin", "site": 0, "api_keys": [], "iat": now, "exp": now + 60, "jti": "forged"}
    tokens = {
        "": (401, "Bearer"),
        "x.y.z": (401, INVALID),
        auth.signer.sign({**claims, "aud": "omnichannel-api", "scope": "admin"}): (401, INVALID),
        auth.signer.sign({**claims, "aud": "auth-admin", "scope": "orders:write"}): (403, INSUFFICIENT),
    }
    for method, path in guarded:
        for token, expected in tokens.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            response = await api.http.request(method, re.sub("{.*?}", "1", path), headers=headers)
            assert (response.status, response.headers["WWW-Authenticate"]) == expected, (method, path)
    assert len(guarded) >= 12
    refused = [
        (line["actor"], line["reason"]) for line in auth.audit.lines if line["action"] == "administrator refused"
    ]
    assert refused == [*[("unknown client", "unauthorized")] * 3, ("admin", "insufficient_scope")] * len(guarded)


async def test_document_and_routes_are_equal(api: AdminClient) -> None:
    served = await api.http.get("/auth-admin/openapi.yaml")
    document = yaml.safe_load(await served.text())
    assert api.http.app is not None
    routes = {(route.method, route.resource.canonical) for route in api.http.app.router.routes() if route.resource}
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    assert {(method, path) for method, path in routes if method != "HEAD"} == described


async def test_customers_have_no_admin_tokens_and_admins_none_of_theirs(auth: AuthHarness, api: AdminClient) -> None:
    refused = await api.http.post(ADMIN.token_path, data={**CREDENTIALS, "client_id": "client-1"})
    async with auth.over_http() as http:
        on_the_public_port = await http.post(ADMIN.token_path, data=CREDENTIALS)
        of_an_api = await http.post("/omnichannel/api/v1/oauth2/token", data=CREDENTIALS)
    assert (refused.status, on_the_public_port.status, of_an_api.status) == (400, 404, 400)


async def test_a_body_is_read_within_bounds_of_size_and_time(api: AdminClient, monkeypatch: pytest.MonkeyPatch) -> None:
    status, problem = await api.request("POST", "/clients", json="x" * 100_000)
    assert (status, problem["code"]) == (413, "PAYLOAD_TOO_LARGE")
    monkeypatch.setattr(oauth, "BODY_TIMEOUT_S", 0.05)
    head = f"POST {BASE}/clients HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {api.token}\r\nContent-Length: 9\r\n\r\n["
    reader, writer = await asyncio.open_connection(api.http.host, api.http.port)
    writer.write(head.encode())
    assert b" 408 " in await reader.readline()
    writer.close()
