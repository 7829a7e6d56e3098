"""Issuers that do not answer as they should, and settings that do not fit: the portal says so, and goes on."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from services.chassis.runtime.settings import load
from services.portal.adapters import openid_issuer
from services.portal.adapters.openid_issuer import MAX_ANSWER_BYTES
from services.portal.domain.openid import InvalidMetadataError, Metadata, check_metadata
from services.portal.settings import Settings
from tests.portal.conftest import KEY
from tests.portal.oidc_issuer import CLIENT_ID, DISCOVERY, JWKS, TOKEN, OidcIssuer
from tests.portal.openid_site import (
    PENDING,
    START,
    UNAVAILABLE,
    OpenOidcSite,
    assert_refused,
    issuer,
    mapping,
    oidc_site,
    open_oidc_site,
)
from tests.portal.site import Site

__all__ = ["issuer", "oidc_site", "open_oidc_site"]

DOCUMENTS: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example"},
    "no issuer": {"issuer": None},
    "plain http": {"token_endpoint": "http://issuer.example/token"},
    "no http": {"jwks_uri": "file:///etc/passwd"},
    "a script": {"end_session_endpoint": "javascript:alert(1)"},
    "no PKCE": {"code_challenge_methods_supported": ["plain"]},
    "no endpoint": {"authorization_endpoint": None},
    "an endpoint with a line break": {"authorization_endpoint": "https://issuer.example/\r\nX: y"},
    "an endpoint with a fragment": {"authorization_endpoint": "https://issuer.example/#x"},
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_discovery_document_that_does_not_fit(
    oidc_site: Site, issuer: OidcIssuer, document: dict[str, Any]
) -> None:
    issuer.metadata = document
    assert UNAVAILABLE in await oidc_site.text(START, status=503)
    assert PENDING not in oidc_site.cookies


LEADING: list[tuple[str, str]] = [
    ("https://issuer.example", "https://elsewhere.example/token"),
    ("http://127.0.0.1:9", "http://localhost:8/token"),
    ("http://127.0.0.1:9", "https://issuer.example/token"),
]
MISLEADING: list[tuple[str, str]] = [
    ("https://issuer.example", "https://127.0.0.1/token"),
    *(
        ("https://issuer.example", f"https://{host}/token")
        for host in ("localhost", "localhost.", "x.localhost", "127.1", "2130706433", "0x7f.1", "0.0.0.0", "[::]")
    ),
    ("https://issuer.example", "https://[::ffff:127.0.0.1]/token"),
    ("https://issuer.example", "http://127.0.0.1/token"),
    ("https://issuer.example", "http://[::1]/token"),
    ("http://127.0.0.1:9", "http://issuer.example/token"),
]
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint")


def documents(issuer: str, endpoint: str) -> list[Metadata]:
    """Return documents of the issuer, each with one endpoint that differs."""
    good = dict.fromkeys(("issuer", *ENDPOINTS), issuer)
    return [msgspec.convert(good | {name: endpoint}, Metadata) for name in ENDPOINTS]


@pytest.mark.parametrize(("issuer_url", "endpoint"), LEADING)
def test_endpoints_may_be_elsewhere(issuer_url: str, endpoint: str) -> None:
    for document in documents(issuer_url, endpoint):
        check_metadata(document, issuer_url)


@pytest.mark.parametrize(("issuer_url", "endpoint"), MISLEADING)
def test_only_an_issuer_of_this_machine_may_lead_to_this_machine(issuer_url: str, endpoint: str) -> None:
    """Breaks: who controls the issuer's document reaches services that listen on the portal's own machine only."""
    for document in documents(issuer_url, endpoint):
        with pytest.raises(InvalidMetadataError):
            check_metadata(document, issuer_url)


async def test_the_issuer_is_compared_exactly(open_oidc_site: OpenOidcSite, issuer: OidcIssuer) -> None:
    site = await open_oidc_site(oidc_issuer=f"{issuer.url}/")
    assert UNAVAILABLE in await site.text(START, status=503)


def _broken_off() -> web.Response:
    response = web.Response(headers={"Content-Length": "5"})
    response.force_close()
    return response


ANSWERS: dict[str, Callable[[], web.StreamResponse]] = {
    "too long": lambda: web.Response(body=b" " * (MAX_ANSWER_BYTES + 1)),
    "elsewhere": lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    "an error": lambda: web.Response(status=500),
    "an error in JSON": lambda: web.json_response({"error": "invalid_request"}, status=400),
    "another client": lambda: web.json_response({"error": "invalid_client"}, status=401),
    "too often": lambda: web.Response(status=429, text="slow down"),
    "not there": lambda: web.Response(status=404, text="<html>", content_type="text/html"),
    "a page": lambda: web.Response(text="<html>", content_type="text/html"),
    "broken off": _broken_off,
    "compressed": lambda: web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
    "nested deeply": lambda: web.Response(body=b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}"),
    "no text": lambda: web.Response(body=b"\xff"),
    "a list": lambda: web.json_response([]),
    "nothing of use": lambda: web.json_response({}),
    "of other types": lambda: web.json_response({"issuer": 7, "id_token": ["x"], "keys": 7, "error": ["x"]}),
}


@pytest.mark.parametrize("path", [DISCOVERY, TOKEN, JWKS])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_cannot_be_used(
    oidc_site: Site,
    issuer: OidcIssuer,
    path: str,
    answer: Callable[[], web.StreamResponse],
    capsys: pytest.CaptureFixture[str],
) -> None:
    issuer.instead[path] = answer
    if path == DISCOVERY:
        assert UNAVAILABLE in await oidc_site.text(START, status=503)
    else:
        await assert_refused(oidc_site, UNAVAILABLE, 503)
    assert "/elsewhere" not in issuer.requests
    assert openid_issuer.UNUSABLE in capsys.readouterr().out


async def test_an_issuer_that_is_not_there_is_asked_only_now_and_then(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_issuer="http://127.0.0.1:1")
    for _ in range(3):
        async with await site.get(START) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert UNAVAILABLE in await response.text()
    async with await site.sign_in() as response:
        assert response.status == 303


@pytest.mark.parametrize(
    "endpoint",
    ["http://127.0.0.1:1/", "https://127.0.0.1:99999/", f"https://{'a' * 64}.example/", "https://127.0.0.1:1/"],
)
async def test_an_endpoint_that_leads_nowhere(oidc_site: Site, issuer: OidcIssuer, endpoint: str) -> None:
    issuer.metadata["token_endpoint"] = endpoint
    await assert_refused(oidc_site, UNAVAILABLE, 503)


async def test_an_issuer_that_hangs(oidc_site: Site, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid_issuer, "TIMEOUT_S", 0.1)
    async with await asyncio.start_server(_read_until_the_end, "127.0.0.1", 0) as server:
        issuer.metadata["token_endpoint"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        await assert_refused(oidc_site, UNAVAILABLE, 503)


async def _read_until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer nothing."""
    await reader.read()
    writer.close()


async def test_a_secret_that_the_issuer_does_not_accept(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_client_secret="wrong")
    await assert_refused(site, UNAVAILABLE, 503)


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("oidc_issuer", "http://issuer.example", "must be https"),
        ("oidc_issuer", "https://issuer.example?x=1", "without a query"),
        ("oidc_client_id", "", "must be set with OIDC_ISSUER"),
        ("oidc_scopes", "profile", "must contain openid"),
        ("oidc_clients", "", "must be a JSON object"),
        ("oidc_clients", "{}", "must have clients"),
        ("oidc_clients", '{"a": {"client_id": "c", "client_secret": ""}}', "without empty"),
        ("oidc_clients", '{"a": {"client_id": "c", "secret": "canary"}}', "must be a JSON object"),
        ("oidc_clients", mapping(a="c")[:-1] + "," + mapping(a="d")[1:], "each value named once"),
    ],
)
def test_settings_that_do_not_fit_are_named_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], setting: str, value: str, reason: str
) -> None:
    values = {
        "mongodb_uri": "mongodb://127.0.0.1",
        "portal_encryption_keys": KEY,
        "oidc_issuer": "https://issuer.example",
        "oidc_client_id": CLIENT_ID,
        "oidc_clients": mapping(a="c"),
    }
    for name, text in values.items():
        monkeypatch.setenv(name.upper(), text)
    load(Settings)
    monkeypatch.setenv(setting.upper(), value)
    with pytest.raises(SystemExit):
        load(Settings)
    printed = capsys.readouterr().err
    assert setting.upper() in printed
    assert reason in printed
    assert "canary" not in printed
