"""The OAuth endpoints over real HTTP."""

import asyncio
import base64
import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient
from openapi_spec_validator import validate

from services.auth.domain.audience import AUDIENCES
from services.auth.domain.credentials import FORM
from services.auth.http import oauth
from services.chassis.http.source_address import parse_networks
from services.chassis.security.tokens import LEEWAY_S
from tests.auth.fakes import FakeClientStore
from tests.auth.harness import OPENAPI, SECRET, AuthHarness, a_client

GOOD = {"grant_type": "client_credentials", "client_id": "client-1", "client_secret": SECRET}
IMPORT = "/omnichannel/api/v1/oauth2/token"


async def pairs(response: ClientResponse) -> list[tuple[str, object]]:
    read: list[tuple[str, object]] = json.loads(await response.text(), object_pairs_hook=list)
    return read


@pytest.mark.parametrize("path", [audience.token_path for audience in AUDIENCES])
async def test_a_token_as_the_document_prints_it(auth: AuthHarness, path: str) -> None:
    async with auth.over_http() as http:
        response = await http.post(f"{path}?{urlencode(GOOD)}")
        assert response.status == 200
        assert [name for name, _ in await pairs(response)] == ["token_type", "access_token", "expires_in"]
        body = await response.json()
    assert (body["token_type"], body["expires_in"]) == ("bearer", 28_800)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_type == "application/json"
    assert re.fullmatch("@[0-9]+", response.headers["Deprecation"])
    assert "X-Request-Id" in response.headers


async def test_a_token_by_form_and_by_basic(auth: AuthHarness) -> None:
    basic = base64.b64encode(f"client-1:{SECRET}".encode()).decode()
    async with auth.over_http() as http:
        by_form = await http.post(IMPORT, data=GOOD)
        by_basic = await http.post(
            IMPORT, data={"grant_type": "client_credentials"}, headers={"Authorization": f"Basic {basic}"}
        )
    assert (by_form.status, by_basic.status) == (200, 200)
    assert "Deprecation" not in by_form.headers


async def test_fewer_scopes_stand_last_in_the_answer(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        response = await http.post(IMPORT, data={**GOOD, "scope": "returns:write"})
        assert (await pairs(response))[-1] == ("scope", "returns:write")


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "nobody"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "status:read"}, 400, "invalid_scope"),
    ],
)
async def test_errors_are_those_of_the_standard(
    auth: AuthHarness, change: dict[str, str], status: int, error: str
) -> None:
    async with auth.over_http() as http:
        response = await http.post(IMPORT, data={**GOOD, **change})
        body = await response.json()
    assert (response.status, body["error"]) == (status, error)
    assert set(body) == {"error", "error_description"}
    assert response.headers["Cache-Control"] == "no-store"
    assert response.content_type == "application/json"
    assert response.headers.get("WWW-Authenticate", "").startswith("Basic") is (status == 401)


async def test_a_known_and_an_unknown_client_are_refused_in_the_same_words(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        known = await http.post(IMPORT, data={**GOOD, "client_secret": "wrong"})
        unknown = await http.post(IMPORT, data={**GOOD, "client_id": "nobody"})
        assert await known.read() == await unknown.read()


async def test_the_same_parameter_with_two_values_is_a_bad_request(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        differing = await http.post(f"{IMPORT}?client_secret=other", data=GOOD)
        agreeing = await http.post(f"{IMPORT}?{urlencode(GOOD)}", data=GOOD)
        assert (await differing.json())["error"] == "invalid_request"
    assert (differing.status, agreeing.status) == (400, 200)
    assert "Deprecation" in differing.headers


async def test_secrets_in_the_query_can_be_switched_off() -> None:
    clients = FakeClientStore()
    await clients.save(a_client())
    strict = AuthHarness(clients, allow_query_secrets=False)
    async with strict.over_http() as http:
        response = await http.post(f"{IMPORT}?{urlencode(GOOD)}")
        assert (await response.json())["error"] == "invalid_request"
    assert response.status == 400


async def test_guessing_ends_in_429_and_tells_when_to_go_on(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        responses = [await http.post(IMPORT, data={**GOOD, "client_secret": "wrong"}) for _ in range(11)]
        right = await http.post(IMPORT, data=GOOD)
        elsewhere = await http.post(
            IMPORT, data={**GOOD, "client_secret": "wrong"}, headers={"X-Forwarded-For": "198.51.100.1"}
        )
    assert [response.status for response in responses] == [401] * 10 + [429]
    assert 1 <= int(responses[-1].headers["Retry-After"]) <= 60
    assert (right.status, elsewhere.status) == (200, 401)


async def test_a_store_that_is_away_is_a_503(auth: AuthHarness) -> None:
    assert isinstance(auth.clients, FakeClientStore)
    auth.clients.is_unavailable = True
    async with auth.over_http() as http:
        response = await http.post(IMPORT, data=GOOD)
        assert (await response.json())["error"] == "temporarily_unavailable"
    assert response.status == 503
    assert int(response.headers["Retry-After"]) >= 1


async def test_a_body_is_not_read_without_end(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        response = await http.post(
            IMPORT, data=b"a" * 100_000, headers={"Content-Type": "application/x-www-form-urlencoded"}
        )
        zipped = await http.post(IMPORT, data=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (response.status, zipped.status) == (400, 400)
    refused = [line["reason"] for line in auth.audit.lines if line["action"] == "token refused"]
    assert refused == ["invalid_request", "invalid_request"]


async def test_a_body_that_does_not_come_is_given_up(auth: AuthHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the received part is a valid request: the rest could contradict it."""
    monkeypatch.setattr(oauth, "BODY_TIMEOUT_S", 0.05)
    body = urlencode(GOOD)
    head = f"POST {IMPORT} HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: {len(body) + 1}\r\n\r\n"
    async with auth.over_http() as http:
        reader, writer = await asyncio.open_connection(http.host, http.port)
        writer.write((head + body).encode())
        assert b" 400 " in await reader.readline()
        writer.close()


async def test_only_post_gets_tokens(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        response = await http.get(f"{IMPORT}?{urlencode(GOOD)}")
        assert "canary" not in await response.text()
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert response.content_type == "application/problem+json"


async def test_the_keys_are_published(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        response = await http.get("/.well-known/jwks.json")
        keys = (await response.json(content_type=None))["keys"]
    assert [set(key) for key in keys] == [{"kty", "kid", "use", "alg", "n", "e"}]
    assert re.fullmatch(r"public, max-age=\d+", response.headers["Cache-Control"])


async def test_the_server_describes_itself(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        metadata = await (await http.get("/.well-known/oauth-authorization-server")).json()
        document = await (await http.get("/auth/openapi.yaml")).text()
    assert metadata["issuer"] == "https://test.tillstream.example"
    assert metadata["jwks_uri"] == "https://front.example/.well-known/jwks.json"
    assert metadata["grant_types_supported"] == ["client_credentials"]
    assert document == OPENAPI.read_text()
    described = yaml.safe_load(document)["components"]["schemas"]["Metadata"]
    assert metadata.keys() == described["properties"].keys()
    for endpoint, name in (("token", "token"), ("revocation", "revoke"), ("introspection", "introspect")):
        assert metadata[f"{endpoint}_endpoint"] == f"https://front.example/omnichannel/api/v1/oauth2/{name}"
        assert metadata[f"{endpoint}_endpoint_auth_methods_supported"] == ["client_secret_post", "client_secret_basic"]


async def test_no_secret_reaches_any_line(auth: AuthHarness, capsys: pytest.CaptureFixture[str]) -> None:
    """Canaries in every place where a client can put a secret, by design or by mistake."""
    capsys.readouterr()
    responses = []
    async with auth.over_http() as http:
        for change in ({}, {"client_secret": "canary-wrong"}, {"client_id": "canary-id"}, {"scope": "canary"}):
            parameters = {**GOOD, **change}
            responses += [
                await http.post(f"{IMPORT}?{urlencode(parameters)}"),
                await http.post(IMPORT, data=parameters),
            ]
        responses.append(await http.post(IMPORT, data=GOOD, headers={"Authorization": "Basic canary!"}))
        responses.append(await http.post(f"{IMPORT}?canary={SECRET}%ff"))
        responses.append(await http.get(f"/canary?client_secret={SECRET}"))
        texts = [await response.text() for response in responses]
    token = json.loads(texts[0])["access_token"]
    captured = capsys.readouterr()
    logged = captured.out + captured.err + str(auth.audit.lines)
    assert "canary" not in logged
    assert token not in logged
    assert all(
        "canary" not in text and "canary" not in str(response.headers)
        for text, response in zip(texts, responses, strict=True)
    )


async def get_token(http: TestClient, path: str = IMPORT) -> str:  # type: ignore[type-arg] # aiohttp's own generic
    return str((await (await http.post(path, data=GOOD)).json())["access_token"])


async def send_token(http: TestClient, endpoint: str, token: str, **change: str) -> ClientResponse:  # type: ignore[type-arg] # aiohttp's own generic
    return await http.post(f"/common-status/v1/oauth2/{endpoint}", data={**GOOD, "token": token, **change})


async def test_a_revoked_token_is_active_no_more(auth: AuthHarness) -> None:
    async with auth.over_http() as http:
        token = await get_token(http)
        introspected = await send_token(http, "introspect", token)
        before = await introspected.json()
        response = await send_token(http, "revoke", token)
        assert await response.read() == b""
        again = await send_token(http, "revoke", token)
        after = await (await send_token(http, "introspect", token)).json()
    assert before["active"] is True
    assert (before["client_id"], before["aud"], before["scope"]) == (
        "client-1",
        "omnichannel-api",
        "orders:write returns:write",
    )
    assert (response.status, again.status) == (200, 200)
    assert {each.headers["Cache-Control"] for each in (introspected, response)} == {"no-store"}
    assert after == {"active": False}
    accepted_until = before["exp"] + LEEWAY_S
    assert [(each.token_id, each.until) for each in auth.publisher.revocations] == [(before["jti"], accepted_until)]
    assert list(auth.revocations.by_key) == [before["jti"]]


@pytest.mark.parametrize("token", ["nonsense", "a.b.c", "x" * 5_000])
async def test_what_is_no_token_needs_no_revoking(auth: AuthHarness, token: str) -> None:
    async with auth.over_http() as http:
        response = await send_token(http, "revoke", token)
        introspected = await (await send_token(http, "introspect", token)).json()
    assert (response.status, introspected) == (200, {"active": False})
    assert auth.publisher.revocations == []


async def test_nobody_ends_or_reads_the_tokens_of_others(auth: AuthHarness) -> None:
    await auth.clients.save(a_client(client_id="other"))
    async with auth.over_http() as http:
        token = await get_token(http)
        response = await send_token(http, "revoke", token, client_id="other")
        error = (await response.json())["error"]
        introspected = await (await send_token(http, "introspect", token, client_id="other")).json()
        stranger = await send_token(http, "revoke", token, client_secret="wrong")
    assert (response.status, error) == (400, "unauthorized_client")
    assert introspected == {"active": False}
    assert stranger.status == 401
    assert auth.publisher.revocations == []


async def test_a_revocation_that_others_cannot_know_of_is_not_confirmed(auth: AuthHarness) -> None:
    auth.publisher.is_unavailable = True
    async with auth.over_http() as http:
        response = await send_token(http, "revoke", await get_token(http))
    assert response.status == 503
    assert len(auth.revocations.by_key) == 1, "the periodic task will publish it"


async def test_before_revocations_are_known_nothing_is_said_of_a_token(auth: AuthHarness) -> None:
    auth.revocations_loaded = False
    async with auth.over_http() as http:
        response = await send_token(http, "introspect", await get_token(http))
    assert response.status == 503


def test_document_and_routes_are_equal(auth: AuthHarness) -> None:
    document = yaml.safe_load(OPENAPI.read_text())
    validate(document)
    routes = oauth.build_routes(
        auth.deps, key_set=auth.signer.key_set, proxies=parse_networks(""), public_url="", openapi=Path(OPENAPI)
    )
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert {(route.path, route.method) for route in routes} == described


async def test_examples_of_the_document_are_answers(auth: AuthHarness) -> None:
    responses = yaml.safe_load(OPENAPI.read_text())["components"]["responses"]
    printed = {
        name: response["content"]["application/json"]["example"]
        for name, response in responses.items()
        if "application/json" in response["content"]
    }
    async with auth.over_http() as http:
        assert await body_of(http, client_secret="wrong") == printed["InvalidClient"]
        assert await body_of(http, grant_type="password") == printed["BadRequest"]
        assert list(await body_of(http)) == list(printed["Token"])
        for _ in range(10):
            last = await body_of(http, client_secret="wrong")
        assert last == printed["TooManyAttempts"]
        assert isinstance(auth.clients, FakeClientStore)
        auth.clients.is_unavailable = True
        assert await body_of(http) == printed["TemporarilyUnavailable"]


async def body_of(http: TestClient, **change: str) -> dict[str, object]:  # type: ignore[type-arg] # aiohttp's own generic
    response = await http.post(IMPORT, data={**GOOD, **change})
    read: dict[str, object] = await response.json()
    return read
