"""Answers of an issuer that do not hold, and ways back that are not the browser's own: no session is made."""

import asyncio
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from aiohttp import web

from services.chassis.runtime.settings import load
from services.portal.adapters import openid_issuer
from services.portal.adapters.openid_issuer import MAX_ANSWER_BYTES
from services.portal.domain.session import MINUTE_US
from services.portal.settings import Settings
from tests.portal.conftest import KEY
from tests.portal.oidc_issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    DISCOVERY,
    JWKS,
    TOKEN,
    OidcIssuer,
    public_jwk,
    public_pem,
    rsa_key,
    sign,
    sign_with_hmac,
)
from tests.portal.openid_site import (
    COOKIE,
    PENDING,
    START,
    OpenOidcSite,
    come_back,
    count_sessions,
    go_to_issuer,
    issuer,
    mapping,
    oidc_site,
    open_oidc_site,
    sign_in,
    sign_in_at_issuer,
)
from tests.portal.site import NOW_US, Site
from tests.support.audit_log import FakeAuditLog

__all__ = ["issuer", "oidc_site", "open_oidc_site"]

NOW_S = NOW_US // 1_000_000
UNVERIFIED = "This sign-in could not be verified"
STALE = "This sign-in cannot be completed"
UNAVAILABLE = "Signing in is temporarily not available"

CLAIMS: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "x" * 43},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "another client"},
    "no audience": {"aud": None},
    "further audiences": {"aud": [CLIENT_ID, "another client"], "azp": CLIENT_ID},
    "another authorized party": {"azp": "another client"},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "expired": {"exp": NOW_S - 60},
    "never expires": {"exp": None},
    "expires never": {"exp": float("inf")},
    "no number": {"exp": float("nan")},
    "a text": {"exp": str(NOW_S + 300)},
    "a truth": {"iat": True},
    "issued in the future": {"iat": NOW_S + 62},
    "issued long ago": {"iat": NOW_S - 662},
    "not issued": {"iat": None},
    "valid later": {"nbf": NOW_S + 62},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a long subject": {"sub": "s" * 256},
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS)
async def test_a_token_whose_claims_do_not_hold(oidc_site: Site, issuer: OidcIssuer, claims: dict[str, Any]) -> None:
    issuer.claims |= claims
    await assert_refused(oidc_site, UNVERIFIED, 403)


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW_S - 59},
        {"iat": NOW_S + 59},
        {"iat": NOW_S - 600},
        {"nbf": NOW_S + 59},
        {"aud": [CLIENT_ID]},
        {"azp": CLIENT_ID},
        {"exp": NOW_S + 300.5},
    ],
)
async def test_a_token_that_just_holds(oidc_site: Site, issuer: OidcIssuer, claims: dict[str, Any]) -> None:
    issuer.claims |= claims
    await sign_in(oidc_site)
    assert await count_sessions(oidc_site) == 1


def _tampered(claims: dict[str, Any]) -> str:
    head, _, signature = sign(claims).split(".")
    payload = sign(claims | {"sub": "somebody else"}).split(".")[1]
    return f"{head}.{payload}.{signature}"


TOKENS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "alg none": lambda claims: jwt.encode(claims, None, algorithm="none", headers={"kid": "1"}),
    "HS256 with the public key": lambda claims: sign_with_hmac(claims, public_pem()),
    "HS256 with the portal's secret": lambda claims: sign_with_hmac(claims, CLIENT_SECRET.encode()),
    "an unknown key": lambda claims: sign(claims, kid="unknown"),
    "another key under a known id": lambda claims: jwt.encode(claims, rsa_key("9"), "RS256", headers={"kid": "1"}),
    "another algorithm": lambda claims: jwt.encode(claims, rsa_key("1"), "PS256", headers={"kid": "1"}),
    "no key id": lambda claims: jwt.encode(claims, rsa_key("1"), "RS256"),
    "an unknown critical header": lambda claims: jwt.encode(
        claims, rsa_key("1"), "RS256", headers={"kid": "1", "crit": ["x"], "x": 1}
    ),
    "tampered": _tampered,
    "no token": lambda _claims: "not.a.token",
    "nothing": lambda _claims: None,
    "a list": lambda _claims: ["x"],
    "too long": lambda claims: sign(claims | {"groups": ["g" * 100] * 200}),
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
async def test_a_token_whose_signature_does_not_hold(
    oidc_site: Site, issuer: OidcIssuer, make: Callable[[dict[str, Any]], Any]
) -> None:
    issuer.sign = make
    await assert_refused(oidc_site, UNVERIFIED, 403)


@pytest.mark.parametrize(
    "key",
    [
        {**public_jwk("1"), "use": "enc"},
        {**public_jwk("1"), "alg": "RS512"},
        {"kty": "oct", "kid": "1", "k": "c2VjcmV0", "alg": "HS256"},
    ],
    ids=["for encryption", "for another algorithm", "symmetric"],
)
async def test_a_key_that_is_not_for_this(oidc_site: Site, issuer: OidcIssuer, key: dict[str, Any]) -> None:
    issuer.keys = [key]
    await assert_refused(oidc_site, UNAVAILABLE, 503)


CALLBACKS: dict[str, tuple[dict[str, str | None], str, int]] = {
    "another state": ({"state": "x" * 43}, STALE, 400),
    "no state": ({"state": None}, STALE, 400),
    "a long state": ({"state": "x" * 3_000}, STALE, 400),
    "no code": ({"code": None}, STALE, 400),
    "an unknown code": ({"code": "unknown"}, UNVERIFIED, 403),
    "code and error": ({"error": "access_denied"}, STALE, 400),
    "denied": ({"code": None, "error": "access_denied"}, "You are not signed in", 403),
    "another issuer": ({"iss": "https://evil.example"}, UNVERIFIED, 403),
    "another issuer denies": ({"code": None, "error": "x", "iss": "https://evil.example"}, UNVERIFIED, 403),
    "no issuer although it says that it sends it": ({"iss": None}, UNVERIFIED, 403),
}


@pytest.mark.parametrize(("parameters", "title", "status"), CALLBACKS.values(), ids=CALLBACKS)
async def test_a_way_back_that_does_not_hold(
    oidc_site: Site, issuer: OidcIssuer, parameters: dict[str, str | None], title: str, status: int
) -> None:
    issuer.callback = parameters
    await assert_refused(oidc_site, title, status)


async def test_an_issuer_that_does_not_name_itself_on_the_way_back(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.metadata["authorization_response_iss_parameter_supported"] = False
    issuer.callback = {"iss": None}
    await sign_in(oidc_site)


async def test_a_repeated_parameter(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    assert STALE in await come_back(oidc_site, f"{back}&code=another", status=400)
    assert await count_sessions(oidc_site) == 0


async def test_a_way_back_is_taken_once(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    pending = oidc_site.cookies[PENDING]
    await come_back(oidc_site, back)
    oidc_site.client.session.cookie_jar.clear()
    oidc_site.set_cookie(PENDING, pending)
    assert STALE in await come_back(oidc_site, back, status=400)
    assert COOKIE not in oidc_site.cookies
    assert await count_sessions(oidc_site) == 1


async def test_a_way_back_that_failed_is_not_taken_again(oidc_site: Site, issuer: OidcIssuer) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    issuer.instead[TOKEN] = lambda: web.Response(status=500)
    assert UNAVAILABLE in await come_back(oidc_site, back, status=503)
    del issuer.instead[TOKEN]
    assert STALE in await come_back(oidc_site, back, status=400)


async def test_a_way_back_in_another_browser(oidc_site: Site, open_oidc_site: OpenOidcSite) -> None:
    """Breaks: somebody is signed in as the attacker who has sent the link."""
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    victim = await open_oidc_site()
    await go_to_issuer(victim)
    assert STALE in await come_back(victim, back, status=400)
    assert STALE in await come_back(oidc_site, back, status=400)
    assert await count_sessions(victim) == 0


async def test_a_way_back_that_took_too_long(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    oidc_site.clock.us += 10 * MINUTE_US
    assert STALE in await come_back(oidc_site, back, status=400)


async def test_a_code_that_was_redeemed_by_somebody_else(oidc_site: Site, issuer: OidcIssuer) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    issuer.codes.clear()
    assert UNVERIFIED in await come_back(oidc_site, back, status=403)


async def test_a_code_of_another_sign_in_is_stopped_by_pkce(oidc_site: Site, issuer: OidcIssuer) -> None:
    stolen = (await sign_in_at_issuer(await go_to_issuer(oidc_site))).partition("code=")[2].partition("&")[0]
    issuer.callback = {"code": stolen}
    await assert_refused(oidc_site, UNVERIFIED, 403)
    assert issuer.authenticated_by == ["basic"]


DOCUMENTS: dict[str, dict[str, Any]] = {
    "another issuer": {"issuer": "https://evil.example"},
    "no issuer": {"issuer": None},
    "plain http": {"token_endpoint": "http://issuer.example/token"},
    "no http": {"jwks_uri": "file:///etc/passwd"},
    "a script": {"end_session_endpoint": "javascript:alert(1)"},
    "no PKCE": {"code_challenge_methods_supported": ["plain"]},
    "no endpoint": {"authorization_endpoint": None},
}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
async def test_a_discovery_document_that_does_not_fit(
    oidc_site: Site, issuer: OidcIssuer, document: dict[str, Any]
) -> None:
    issuer.metadata = document
    assert UNAVAILABLE in await oidc_site.text(START, status=503)
    assert PENDING not in oidc_site.cookies


async def test_the_issuer_is_compared_exactly(open_oidc_site: OpenOidcSite, issuer: OidcIssuer) -> None:
    site = await open_oidc_site(oidc_issuer=f"{issuer.url}/")
    assert UNAVAILABLE in await site.text(START, status=503)


ANSWERS: dict[str, Callable[[], web.StreamResponse]] = {
    "too long": lambda: web.Response(body=b" " * (MAX_ANSWER_BYTES + 1)),
    "elsewhere": lambda: web.Response(status=302, headers={"Location": "/elsewhere"}),
    "an error": lambda: web.Response(status=500),
    "broken off": lambda: web.Response(headers={"Content-Length": "5"}, status=502),
    "compressed": lambda: web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"}, status=503),
}


@pytest.mark.parametrize("path", [DISCOVERY, TOKEN, JWKS])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_cannot_be_used(
    oidc_site: Site, issuer: OidcIssuer, path: str, answer: Callable[[], web.StreamResponse]
) -> None:
    issuer.instead[path] = answer
    if path == DISCOVERY:
        assert UNAVAILABLE in await oidc_site.text(START, status=503)
    else:
        await assert_refused(oidc_site, UNAVAILABLE, 503)
    assert "/elsewhere" not in issuer.requests


async def test_an_issuer_that_is_not_there_is_asked_only_now_and_then(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_issuer="http://127.0.0.1:1")
    for _ in range(3):
        async with await site.get(START) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "5")
            assert UNAVAILABLE in await response.text()
    async with await site.sign_in() as response:
        assert response.status == 303


async def test_an_issuer_that_hangs(oidc_site: Site, issuer: OidcIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openid_issuer, "TIMEOUT_S", 0.1)
    released = asyncio.Event()
    server = await asyncio.start_server(lambda _reader, _writer: released.wait(), "127.0.0.1", 0)
    async with server:
        issuer.metadata["token_endpoint"] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/token"
        await assert_refused(oidc_site, UNAVAILABLE, 503)
        released.set()


async def test_a_secret_that_the_issuer_does_not_accept(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_client_secret="wrong")
    await assert_refused(site, UNAVAILABLE, 503)


async def test_ten_failures_from_an_address_are_enough_for_a_minute(oidc_site: Site, issuer: OidcIssuer) -> None:
    audit = FakeAuditLog()
    object.__setattr__(oidc_site.components.sign_in, "audit", audit)
    waiting = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    issuer.claims["nonce"] = "x"
    for _ in range(10):
        await sign_in(oidc_site, status=403)
    asked = len(issuer.requests)
    assert "Too many failed tries" in await oidc_site.text(START, status=429)
    assert "Too many failed tries" in await come_back(oidc_site, waiting, status=429)
    async with await oidc_site.sign_in() as response:
        assert response.status == 429
    assert len(issuer.requests) == asked
    assert [line["reason"] for line in audit.lines] == ["unverified"] * 10 + ["throttled"] * 3


async def test_sign_ins_that_are_only_begun_are_bounded(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(portal_sign_ins_per_minute=1)
    for _ in range(10):
        await go_to_issuer(site)
    await site.text(START, status=429)


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


async def assert_refused(site: Site, title: str, status: int) -> None:
    """Sign in, and see a page that says why not and leads back to the sign-in page."""
    page = await sign_in(site, status=status)
    assert title in page
    assert 'href="/portal/sign-in"' in page
    assert COOKIE not in site.cookies
    assert await count_sessions(site) == 0
