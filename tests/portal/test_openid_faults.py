"""Answers of an issuer that do not hold, and ways back that are not the browser's own: no session is made."""

import base64
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from aiohttp import web

from services.portal.domain.session import MINUTE_US
from tests.portal.apis import CUSTOMER, Apis
from tests.portal.oidc_issuer import (
    CLIENT_ID,
    CLIENT_SECRET,
    SUBJECT,
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
    STALE,
    START,
    UNAVAILABLE,
    UNVERIFIED,
    OpenOidcSite,
    assert_refused,
    come_back,
    count_sessions,
    go_to_issuer,
    issuer,
    oidc_site,
    open_oidc_site,
    sign_in,
    sign_in_at_issuer,
)
from tests.portal.site import NOW_US, Site
from tests.support.audit_log import FakeAuditLog

__all__ = ["issuer", "oidc_site", "open_oidc_site"]

NOW_S = NOW_US // 1_000_000

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


def _nested_header() -> str:
    header = b'{"alg":"RS256","kid":"1","x":' + b"[" * 5_000 + b"]" * 5_000 + b"}"
    return base64.urlsafe_b64encode(header).decode().rstrip("=") + "."


def _tampered(claims: dict[str, Any]) -> str:
    head, _, signature = sign(claims).split(".")
    payload = sign(claims | {"sub": "somebody else"}).split(".")[1]
    return f"{head}.{payload}.{signature}"


TOKENS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "alg none": lambda claims: jwt.encode(claims, "", algorithm="none", headers={"kid": "1"}),
    "HS256 with the public key": lambda claims: sign_with_hmac(claims, public_pem()),
    "HS256 with the portal's secret": lambda claims: sign_with_hmac(claims, CLIENT_SECRET.encode()),
    "an unknown key": lambda claims: sign(claims, kid="unknown"),
    "another key under a known id": lambda claims: jwt.encode(claims, rsa_key("9"), "RS256", headers={"kid": "1"}),
    "another algorithm": lambda claims: jwt.encode(claims, rsa_key("1"), "PS256", headers={"kid": "1"}),
    "nested deeply": lambda claims: _nested_header() + sign(claims).partition(".")[2],
    "an unknown critical header": lambda claims: jwt.encode(
        claims, rsa_key("1"), "RS256", headers={"kid": "1", "crit": ["x"], "x": 1}
    ),
    "tampered": _tampered,
    "no token": lambda _claims: "not.a.token",
    "too long": lambda claims: sign(claims | {"groups": ["g" * 100] * 200}),
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
async def test_a_token_whose_signature_does_not_hold(
    oidc_site: Site, issuer: OidcIssuer, make: Callable[[dict[str, Any]], Any]
) -> None:
    issuer.sign = make
    await assert_refused(oidc_site, UNVERIFIED, 403)


async def test_a_token_without_a_key_id_if_there_are_several_keys(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.keys = [public_jwk("1"), public_jwk("2")]
    issuer.sign = lambda claims: jwt.encode(claims, rsa_key("1"), "RS256")
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
    "a long state": ({"state": "x" * 4_097}, STALE, 400),
    "no code": ({"code": None}, STALE, 400),
    "an unknown code": ({"code": "unknown"}, STALE, 400),
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


async def test_a_code_that_is_too_long_is_not_passed_on(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.callback = {"code": "x" * 4_097}
    await assert_refused(oidc_site, STALE, 400)
    assert TOKEN not in issuer.requests


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
    assert STALE in await come_back(oidc_site, back, status=400)


async def test_a_code_of_another_sign_in_is_stopped_by_pkce(oidc_site: Site, issuer: OidcIssuer) -> None:
    stolen = (await sign_in_at_issuer(await go_to_issuer(oidc_site))).partition("code=")[2].partition("&")[0]
    issuer.callback = {"code": stolen}
    await assert_refused(oidc_site, STALE, 400)
    assert issuer.authenticated_by == ["basic"]


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
    assert len(issuer.requests) == asked
    assert [line["reason"] for line in audit.lines] == ["unverified"] * 10 + ["throttled"] * 2
    async with await oidc_site.sign_in() as response:
        assert response.status == 303, "faults of the issuer lock nobody out who has a secret"


async def test_ways_back_that_prove_nothing_do_not_lock_out_an_address(
    open_oidc_site: OpenOidcSite, issuer: OidcIssuer, apis: Apis
) -> None:
    """Breaks: a whole office behind one address cannot sign in because of a few people, or of a link."""
    site = await open_oidc_site(portal_sign_ins_per_minute=1)
    for _ in range(2):
        await come_back(site, "/portal/sign-in/callback?code=x&state=y", status=400)
    await go_to_issuer(site)
    ways: list[tuple[dict[str, str | None], int]] = [
        ({"state": "x"}, 400),
        ({"code": "used"}, 400),
        ({"code": None, "error": "access_denied"}, 403),
    ]
    for issuer.callback, status in ways:
        await sign_in(site, status=status)
    issuer.callback = {}
    issuer.claims["sub"] = "not mapped"
    await sign_in(site, status=403)
    issuer.claims["sub"] = SUBJECT
    secret, apis.secrets[CUSTOMER] = apis.secrets[CUSTOMER], "replaced"
    await sign_in(site, status=403)
    apis.secrets[CUSTOMER] = secret
    await sign_in(site)


async def test_sign_ins_that_are_only_begun_are_bounded(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(portal_sign_ins_per_minute=1)
    for _ in range(10):
        await go_to_issuer(site)
    await site.text(START, status=429)
