"""Signing in by OpenID Connect, with an issuer over HTTP."""

from functools import partial
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest

from services.portal.adapters.openid_issuer import MAX_LOOKUPS
from tests.portal.apis import CUSTOMER, OPERATOR, OTHER, RESELLER, Apis
from tests.portal.oidc_issuer import JWKS, SUBJECT, OidcIssuer, public_jwk, rsa_key, sign
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
    refreshed_to,
    sign_in,
    sign_in_at_issuer,
)
from tests.portal.site import ORIGIN, Site
from tests.support.audit_log import FakeAuditLog

__all__ = ["issuer", "oidc_site", "open_oidc_site"]

ACCOUNT_DIGITS = 16


async def test_a_person_signs_in_and_sees_the_page_that_was_asked_for(oidc_site: Site) -> None:
    page = await oidc_site.text("/portal/sign-in?next=/portal/jobs?state%3DFAILED")
    assert "Sign in with Example & Sons" in page
    assert f'href="{START}?next=%2Fportal%2Fjobs%3Fstate%3DFAILED"' in page
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site, "%2Fportal%2Fjobs%3Fstate%3DFAILED"))
    assert refreshed_to(await come_back(oidc_site, back)) == "/portal/jobs?state=FAILED"
    assert CUSTOMER in await oidc_site.text("/portal/jobs?state=FAILED")
    await come_back(oidc_site, back, status=400)


async def test_without_an_issuer_there_is_no_button_and_no_way(site: Site) -> None:
    assert "Sign in with" not in await site.text("/portal/sign-in")
    for path in (START, "/portal/sign-in/callback?code=x&state=y"):
        async with await site.get(path) as response:
            assert response.status in (303, 404)
            assert response.headers.get("Location", "/portal/sign-in").startswith("/portal/sign-in")


async def test_the_cookies_are_lax_on_the_way_and_strict_afterwards(oidc_site: Site) -> None:
    async with await oidc_site.get(START) as response:
        (pending,) = response.headers.getall("Set-Cookie")
        back = await sign_in_at_issuer(response.headers["Location"])
    assert {"HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"} <= set(pending.split("; "))
    async with await oidc_site.get(back) as response:
        (cookie,) = [each for each in response.headers.getall("Set-Cookie") if each.startswith(COOKIE)]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))


async def test_over_https_the_cookie_of_the_way_is_bound_to_the_host(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(portal_url="https://portal.example")
    async with await site.get(START) as response:
        (pending,) = response.headers.getall("Set-Cookie")
        assert "redirect_uri=https%3A%2F%2Fportal.example%2Fportal%2Fsign-in%2Fcallback" in response.headers["Location"]
    assert pending.startswith(f"__Host-{PENDING}=")
    assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/"} <= set(pending.split("; "))


async def test_any_replica_may_answer_the_way_back(oidc_site: Site, open_oidc_site: OpenOidcSite) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    elsewhere = await open_oidc_site()
    elsewhere.set_cookie(PENDING, oidc_site.cookies[PENDING])
    assert refreshed_to(await come_back(elsewhere, back)) == "/portal/jobs"


async def test_two_tabs_may_sign_in_at_once(oidc_site: Site) -> None:
    first, second = [await sign_in_at_issuer(await go_to_issuer(oidc_site, f"/portal/{page}")) for page in "ab"]
    assert refreshed_to(await come_back(oidc_site, first)) == "/portal/a"
    assert refreshed_to(await come_back(oidc_site, second)) == "/portal/b"


async def test_signing_in_ends_the_browsers_earlier_session(oidc_site: Site) -> None:
    """Old browsers do not say that they come from another site, and withhold the strict cookie."""
    await sign_in(oidc_site)
    first = oidc_site.cookies[COOKIE]
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    pending = oidc_site.cookies[PENDING]
    oidc_site.client.session.cookie_jar.clear()
    oidc_site.set_cookie(PENDING, pending)
    await oidc_site.text(back)
    assert oidc_site.cookies[COOKIE] != first
    assert await count_sessions(oidc_site) == 1


async def test_signing_in_ends_a_session_that_another_tab_has_begun_meanwhile(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    async with await oidc_site.sign_in() as response:
        assert response.status == 303
    meanwhile = oidc_site.cookies[COOKIE]
    await come_back(oidc_site, back)
    assert oidc_site.cookies[COOKIE] != meanwhile
    assert await count_sessions(oidc_site) == 1


async def test_what_comes_from_another_site_uses_nothing_up(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    await oidc_site.text(back, {"Sec-Fetch-Site": "cross-site"})
    assert COOKIE not in oidc_site.cookies
    await come_back(oidc_site, back)


@pytest.mark.parametrize("site_of_link", ["cross-site", "same-site"])
async def test_another_site_cannot_begin_a_sign_in(oidc_site: Site, issuer: OidcIssuer, site_of_link: str) -> None:
    async with await oidc_site.get(f"{START}?next=/portal/jobs", {"Sec-Fetch-Site": site_of_link}) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/sign-in?next=/portal/jobs")
    assert PENDING not in oidc_site.cookies
    assert issuer.requests == []


async def test_a_head_request_uses_nothing_up(oidc_site: Site) -> None:
    back = await sign_in_at_issuer(await go_to_issuer(oidc_site))
    async with oidc_site.client.head(back, allow_redirects=False) as response:
        assert response.status in (303, 404)
        assert COOKIE not in oidc_site.cookies
    await come_back(oidc_site, back)


@pytest.mark.parametrize(
    ("claim", "claims", "client"),
    [
        ("email", {"email": "a@example.com", "email_verified": True}, CUSTOMER),
        ("email", {"email": "a@example.com", "email_verified": False}, None),
        ("email", {"email": "a@example.com", "email_verified": "true"}, None),
        ("email", {"email": "a@example.com"}, None),
        ("email", {"email": "A@example.com", "email_verified": True}, None),
        ("groups", {"groups": ["unknown", "second", "first"]}, OTHER),
        ("groups", {"groups": "second"}, RESELLER),
        ("groups", {"groups": [["first"], {"first": 1}, 7, None]}, None),
        ("groups", {"groups": []}, None),
        ("groups", {}, None),
    ],
)
async def test_people_are_the_client_that_their_claim_is_mapped_to(
    open_oidc_site: OpenOidcSite, issuer: OidcIssuer, claim: str, claims: dict[str, object], client: str | None
) -> None:
    clients = mapping(**{"a@example.com": CUSTOMER, "first": OTHER, "second": RESELLER})
    site = await open_oidc_site(oidc_claim=claim, oidc_clients=clients)
    issuer.claims |= claims
    page = await sign_in(site, status=403 if client is None else 200)
    assert ("Your account has no access" in page) == (client is None)
    assert await count_sessions(site) == (client is not None)
    if client is not None:
        assert client in await site.text("/portal/")


async def test_an_operator_may_sign_in_too(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_clients=mapping(**{SUBJECT: OPERATOR}))
    await sign_in(site)
    assert "Operator" in await site.text("/portal/")


async def test_a_mapped_client_whose_secret_was_replaced_is_nobody(oidc_site: Site, apis: Apis) -> None:
    apis.secrets[CUSTOMER] = "another one"
    assert "Your access is no longer valid" in await sign_in(oidc_site, status=403)
    assert await count_sessions(oidc_site) == 0


async def test_a_mapped_client_without_rights_is_refused(open_oidc_site: OpenOidcSite) -> None:
    site = await open_oidc_site(oidc_clients=mapping(**{SUBJECT: OPERATOR}), portal_admin_url=None)
    assert "Your account has no rights" in await sign_in(site, status=403)
    assert await count_sessions(site) == 0


async def test_a_new_key_is_fetched_when_a_token_names_it(oidc_site: Site, issuer: OidcIssuer) -> None:
    await sign_in(oidc_site)
    issuer.keys = [public_jwk("1"), public_jwk("2")]
    issuer.sign = lambda claims: sign(claims, kid="2")
    await sign_in(oidc_site)
    assert issuer.requests.count(JWKS) == 2


async def test_keys_may_be_rotated_twice_in_a_row(oidc_site: Site, issuer: OidcIssuer) -> None:
    for kid in ("1", "2", "9"):
        issuer.keys = [public_jwk(kid)]
        issuer.sign = partial(sign, kid=kid)
        await sign_in(oidc_site)
    assert issuer.requests.count(JWKS) == 3


async def test_unknown_keys_are_looked_for_only_a_few_times_in_a_minute(oidc_site: Site, issuer: OidcIssuer) -> None:
    await sign_in(oidc_site)
    issuer.sign = partial(sign, kid="2")
    for _ in range(MAX_LOOKUPS + 2):
        assert "could not be verified" in await sign_in(oidc_site, status=403)
    assert issuer.requests.count(JWKS) == 1 + MAX_LOOKUPS


@pytest.mark.parametrize("key_id", [{"kid": "1"}, {}], ids=["a key with an id", "a key without one"])
async def test_the_only_key_needs_no_id(oidc_site: Site, issuer: OidcIssuer, key_id: dict[str, str]) -> None:
    """OpenID Connect Core, 10.1."""
    key = public_jwk("1")
    del key["kid"]
    issuer.keys = [key | key_id]
    issuer.sign = lambda claims: jwt.encode(claims, rsa_key("1"), "RS256")
    await sign_in(oidc_site)


async def test_a_long_code_is_passed_on(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.code_bytes = 3_072  # 4,096 characters
    await sign_in(oidc_site)


async def test_es256_is_accepted(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.keys = [public_jwk("1"), public_jwk("e", "ES256")]
    issuer.sign = lambda claims: sign(claims, kid="e", algorithm="ES256")
    await sign_in(oidc_site)


@pytest.mark.parametrize(
    ("methods", "used"),
    [
        (None, "basic"),
        (["client_secret_post", "client_secret_basic"], "basic"),
        (["client_secret_post"], "post"),
    ],
)
async def test_the_portal_authenticates_as_the_issuer_wants(
    oidc_site: Site, issuer: OidcIssuer, methods: list[str] | None, used: str
) -> None:
    if methods is not None:
        issuer.metadata["token_endpoint_auth_methods_supported"] = methods
    await sign_in(oidc_site)
    assert issuer.authenticated_by == [used]


async def test_signing_out_leads_to_the_issuer_and_back(oidc_site: Site) -> None:
    await sign_in(oidc_site)
    token = await oidc_site.form_token("/portal/jobs")
    async with await oidc_site.post("/portal/sign-out", {"form_token": token}) as response:
        page = await response.text()
        # Not a redirect: `form-action 'self'` would block it.
        assert response.status == 200
    assert COOKIE not in oidc_site.cookies
    assert await count_sessions(oidc_site) == 0
    url = refreshed_to(page)
    async with oidc_site.client.session.get(url, allow_redirects=False) as response:
        assert response.headers["Location"] == f"{ORIGIN}/portal/sign-in?reason=signed-out"


async def test_signing_out_ends_here_if_the_issuer_has_no_such_address(oidc_site: Site, issuer: OidcIssuer) -> None:
    issuer.metadata["end_session_endpoint"] = None
    await sign_in(oidc_site)
    await sign_out_here(oidc_site)


async def test_who_has_signed_in_with_a_secret_signs_out_here(oidc_site: Site) -> None:
    async with await oidc_site.sign_in() as response:
        assert response.status == 303
    await sign_out_here(oidc_site)


async def sign_out_here(site: Site) -> None:
    token = await site.form_token("/portal/jobs")
    async with await site.post("/portal/sign-out", {"form_token": token}) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/sign-in?reason=signed-out")
    assert await count_sessions(site) == 0


async def test_sign_ins_are_audited_by_a_pseudonym(oidc_site: Site, issuer: OidcIssuer) -> None:
    audit = FakeAuditLog()
    object.__setattr__(oidc_site.components.sign_in, "audit", audit)
    await sign_in(oidc_site)
    token = await oidc_site.form_token("/portal/jobs")
    async with await oidc_site.post("/portal/sign-out", {"form_token": token}) as response:
        assert response.status == 200
    issuer.claims["sub"] = "another-canary"
    await sign_in(oidc_site, status=403)
    first, ended, second = audit.lines
    assert (first["action"], first["actor"], first["source"]) == ("signed in", CUSTOMER, "127.0.0.1")
    assert (second["action"], second["actor"], second["reason"]) == ("sign-in refused", "unknown client", "unmapped")
    assert (ended["action"], ended["actor"], ended["account"]) == ("signed out", CUSTOMER, first["account"])
    accounts = [str(first["account"]), str(second["account"])]
    assert [len(account) for account in accounts] == [ACCOUNT_DIGITS] * 2
    assert len(set(accounts)) == 2
    assert "canary" not in str(audit.lines)


async def test_mongodb_has_nothing_readable_of_a_sign_in(oidc_site: Site, issuer: OidcIssuer) -> None:
    url = await go_to_issuer(oidc_site, "/portal/target-canary")
    mongo = oidc_site.components.mongo
    (begun,) = await mongo.collection("portal_pending_sign_ins").find().to_list(length=None)
    assert begun.keys() == {"_id", "key_id", "ciphertext", "expires"}
    asked = dict(parse_qsl(urlsplit(url).query))
    assert not [name for name in ("state", "nonce", "code_challenge") if asked[name] in repr(begun)]
    assert "canary" not in repr(begun)
    await come_back(oidc_site, await sign_in_at_issuer(url))
    assert await mongo.collection("portal_pending_sign_ins").count_documents({}) == 0
    assert "expireAfterSeconds" in str(await mongo.collection("portal_pending_sign_ins").index_information())
    (session,) = await mongo.collection("portal_sessions").find().to_list(length=None)
    assert session.keys() == {"_id", "created_us", "seen_us", "expires", "key_id", "ciphertext"}
    assert issuer.codes == {}
