"""Signing in and out, and how sessions end."""

from base64 import b64encode
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from pymongo import MongoClient

from services.portal.domain.session import MINUTE_US
from services.portal.flows.sign_in import session_id_of
from services.portal.http.cookies import Cookies
from services.portal.http.forms import make_token
from tests.portal.apis import CUSTOMER, OPERATOR, RESELLER, SECRET, Apis
from tests.portal.conftest import KEY, OpenSite
from tests.portal.site import OWN_REQUEST, Site
from tests.support.audit_log import FakeAuditLog

COOKIE = "portal-session"


async def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_the_page(site: Site) -> None:
    async with await site.get("/portal/jobs?state=FAILED") as response:
        assert response.status == 303
        target = response.headers["Location"]
    assert target == "/portal/sign-in?next=/portal/jobs?state%3DFAILED"
    async with await site.sign_in(next="/portal/jobs?state=FAILED") as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/jobs?state=FAILED")


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example/portal/", "/portal//evil.example", "/portal/\\evil", "javascript:x", ""],
)
async def test_signing_in_leads_to_pages_of_ours_only(site: Site, target: str) -> None:
    async with await site.sign_in(next=target) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/")


async def test_the_cookie_is_strict_and_of_http_only(site: Site) -> None:
    async with await site.sign_in() as response:
        (cookie,) = [each for each in response.headers.getall("Set-Cookie") if each.startswith(f"{COOKIE}=")]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


async def test_over_https_the_cookie_is_secure_and_bound_to_the_host(open_site: OpenSite) -> None:
    site = await open_site(portal_url="https://portal.example")
    async with await site.get("/portal/sign-in") as response:
        (cookie,) = response.headers.getall("Set-Cookie")
        assert response.headers["Strict-Transport-Security"]
    assert cookie.startswith("__Host-portal-form=")
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    ("client_id", "secret"), [(CUSTOMER, "wrong"), ("nobody", SECRET), ("", ""), ("x" * 300, "canary" * 3)]
)
async def test_wrong_credentials_are_refused_in_the_same_words(site: Site, client_id: str, secret: str) -> None:
    async with await site.sign_in(client_id, secret) as response:
        text = await response.text()
        assert response.status == 401
        assert "The client id or the secret is not right." in text
        assert secret not in text or secret == ""
    assert COOKIE not in site.cookies


async def test_a_session_gets_a_new_id_whatever_cookie_came(site: Site) -> None:
    """Breaks: session fixation, a cookie that somebody else has chosen becomes a session."""
    site.set_cookie(COOKIE, "chosen-by-somebody-else")
    async with await site.sign_in() as response:
        assert response.status == 303
    assert site.cookies[COOKIE] != "chosen-by-somebody-else"
    site.set_cookie(COOKIE, "chosen-by-somebody-else")
    async with await site.get("/portal/jobs") as response:
        assert response.status == 303


async def test_signing_in_again_begins_another_session(signed_in: Site) -> None:
    first = signed_in.cookies[COOKIE]
    async with await signed_in.get("/portal/sign-in") as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/")
    signed_in.client.session.cookie_jar.clear()
    async with await signed_in.sign_in():
        assert signed_in.cookies[COOKIE] != first


async def test_signing_in_again_ends_the_browsers_earlier_session(signed_in: Site, open_site: OpenSite) -> None:
    """Breaks: the earlier session lives on for half an hour, and nobody has a cookie to sign it out with."""
    audit = FakeAuditLog()
    object.__setattr__(signed_in.components.sign_in, "audit", audit)
    first = signed_in.cookies[COOKIE]
    token = make_token("n" * 43)
    signed_in.set_cookie("portal-form", "n" * 43)
    form = {"form_token": token, "client_id": RESELLER, "client_secret": "wrong"}
    async with await signed_in.post("/portal/sign-in", form) as response:
        assert response.status == 401
    await signed_in.text("/portal/jobs")
    async with await signed_in.post("/portal/sign-in", form | {"client_secret": SECRET}) as response:
        assert response.status == 303
    assert signed_in.cookies[COOKIE] != first
    elsewhere = await open_site()
    elsewhere.set_cookie(COOKIE, first)
    async with await elsewhere.get("/portal/jobs") as response:
        assert response.status == 303
    assert [(line["action"], line["actor"], line.get("reason")) for line in audit.lines] == [
        ("sign-in refused", "unknown client", "wrong"),
        ("session ended", CUSTOMER, "replaced"),
        ("signed in", RESELLER, None),
    ]


async def test_a_stolen_cookie_is_worth_nothing_after_signing_out(signed_in: Site, open_site: OpenSite) -> None:
    stolen = signed_in.cookies[COOKIE]
    elsewhere = await open_site()
    elsewhere.set_cookie(COOKIE, stolen)
    await elsewhere.text("/portal/jobs")
    token = await signed_in.form_token("/portal/jobs")
    async with await signed_in.post("/portal/sign-out", {"form_token": token}) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/sign-in?reason=signed-out")
    assert COOKIE not in signed_in.cookies
    for browser in (signed_in, elsewhere):
        browser.set_cookie(COOKIE, stolen)
        async with await browser.get("/portal/jobs") as response:
            assert response.status == 303


async def test_a_session_ends_when_it_is_not_used(signed_in: Site) -> None:
    signed_in.clock.advance_minutes(29.9)
    await signed_in.text("/portal/jobs")
    signed_in.clock.advance_minutes(29.9)
    await signed_in.text("/portal/jobs")
    signed_in.clock.advance_minutes(30)
    async with await signed_in.get("/portal/jobs") as response:
        assert response.status == 303


async def test_what_a_page_fetches_by_itself_does_not_keep_a_session_alive(signed_in: Site) -> None:
    for _ in range(5):
        signed_in.clock.advance_minutes(5.9)
        await signed_in.text("/portal/jobs", {"X-Portal-Background": "1"})
    signed_in.clock.advance_minutes(0.6)
    async with await signed_in.get("/portal/jobs", {"X-Portal-Background": "1"}) as response:
        assert response.status == 401


async def test_a_session_ends_after_eight_hours_however_much_it_is_used(signed_in: Site) -> None:
    for _ in range(19):
        signed_in.clock.advance_minutes(25)
        await signed_in.text("/portal/jobs")
    signed_in.clock.advance_minutes(5)
    async with await signed_in.get("/portal/jobs") as response:
        assert response.status == 303


async def test_a_session_ends_when_its_secret_is_no_longer_accepted(signed_in: Site, open_site: OpenSite) -> None:
    """Another replica has no token yet, and gets none."""
    signed_in.apis.secrets[CUSTOMER] = "another one"
    elsewhere = await open_site()
    elsewhere.set_cookie(COOKIE, signed_in.cookies[COOKIE])
    async with await elsewhere.get("/portal/jobs") as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/sign-in?reason=revoked")
    async with await signed_in.get("/portal/jobs") as response:
        assert response.status == 303


async def test_ten_failures_from_an_address_are_enough_for_a_minute(site: Site) -> None:
    audit = FakeAuditLog()
    object.__setattr__(site.components.sign_in, "audit", audit)
    token = await site.form_token()
    form = {"form_token": token, "client_id": CUSTOMER, "client_secret": "wrong"}
    for _ in range(10):
        async with await site.post("/portal/sign-in", form) as response:
            assert response.status == 401
    asked = site.apis.token_requests
    async with await site.sign_in() as response:
        assert response.status == 429
        assert "Too many failed tries" in await response.text()
    assert site.apis.token_requests == asked
    assert [line["reason"] for line in audit.lines] == ["wrong"] * 10 + ["throttled"]


async def test_a_client_id_is_throttled_from_all_addresses_together(site: Site) -> None:
    token = await site.form_token()
    form = {"form_token": token, "client_id": CUSTOMER, "client_secret": "wrong"}
    for number in range(30):
        async with await site.post(
            "/portal/sign-in", form, headers=OWN_REQUEST | {"X-Forwarded-For": f"10.0.0.{number}"}
        ) as response:
            assert response.status == 401
    async with await site.post(
        "/portal/sign-in", form | {"client_secret": SECRET}, headers=OWN_REQUEST | {"X-Forwarded-For": "10.0.1.1"}
    ) as response:
        assert response.status == 429
    site.headers["X-Forwarded-For"] = "10.0.1.1"
    async with await site.sign_in(RESELLER) as response:
        assert response.status == 303


async def test_sign_ins_are_audited_without_what_was_entered(site: Site) -> None:
    audit = FakeAuditLog()
    object.__setattr__(site.components.sign_in, "audit", audit)
    async with await site.sign_in("pasted-secret", "pasted-secret"):
        pass
    async with await site.sign_in():
        pass
    token = await site.form_token("/portal/jobs")
    async with await site.post("/portal/sign-out", {"form_token": token}):
        pass
    assert [(line["action"], line["actor"]) for line in audit.lines] == [
        ("sign-in refused", "unknown client"),
        ("signed in", CUSTOMER),
        ("signed out", CUSTOMER),
    ]
    assert "pasted-secret" not in str(audit.lines)
    assert all(line["source"] == "127.0.0.1" for line in audit.lines)


async def test_mongodb_has_neither_the_cookie_nor_the_secret(signed_in: Site, mongodb_uri: str, database: str) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    with client:
        (document,) = client[database]["portal_sessions"].find()
    assert document["_id"] == session_id_of(signed_in.cookies[COOKIE])
    stored = repr(document)
    assert not [each for each in (SECRET, CUSTOMER, "12345", signed_in.cookies[COOKIE]) if each in stored]
    assert document["created_us"] == signed_in.clock.us
    assert document["seen_us"] % MINUTE_US == signed_in.clock.us % MINUTE_US


async def test_of_a_session_that_has_ended_mongodb_keeps_nothing_secret(
    signed_in: Site, mongodb_uri: str, database: str
) -> None:
    token = await signed_in.form_token("/portal/jobs")
    async with await signed_in.post("/portal/sign-out", {"form_token": token}):
        pass
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb_uri)
    with client:
        (document,) = client[database]["portal_sessions"].find()
        assert "expireAfterSeconds" in str(client[database]["portal_sessions"].index_information())
    assert document.keys() == {"_id", "created_us", "seen_us", "expires"}


async def test_a_session_whose_key_was_removed_has_ended(signed_in: Site, open_site: OpenSite) -> None:
    new = b64encode(b"n" * 32).decode()
    rotated = await open_site(portal_encryption_keys=f"{new},{KEY}")
    rotated.set_cookie(COOKIE, signed_in.cookies[COOKIE])
    await rotated.text("/portal/jobs")
    without = await open_site(portal_encryption_keys=new)
    without.set_cookie(COOKIE, signed_in.cookies[COOKIE])
    async with await without.get("/portal/jobs") as response:
        assert response.status == 303


async def test_an_operator_has_pages_of_an_operator(site: Site) -> None:
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    text = await site.text("/portal/")
    assert "Operator" in text
    assert 'href="/portal/jobs"' not in text
    assert "Not allowed" in await site.text("/portal/jobs", status=403)


async def test_without_the_admin_api_operators_cannot_sign_in(open_site: OpenSite) -> None:
    site = await open_site(portal_admin_url=None)
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 403
        assert "no rights" in await response.text()


async def test_signing_in_says_when_auth_does_not_answer(site: Site, apis: Apis) -> None:
    token = await site.form_token()
    form = {"form_token": token, "client_id": CUSTOMER, "client_secret": SECRET}
    apis.is_auth_away = True
    async with await site.post("/portal/sign-in", form) as response:
        assert response.status == 503
        assert "Nothing is lost" in await response.text()


async def test_a_link_on_another_site_leads_to_the_page_and_not_to_the_form(site: Site) -> None:
    """Browsers withhold a strict cookie from it: the page asks for itself once more, as a page of ours."""
    text = await site.text("/portal/jobs?state=FAILED", {"Sec-Fetch-Site": "cross-site"})
    assert 'http-equiv="refresh"' in text
    assert COOKIE not in site.cookies


async def test_a_link_of_another_site_to_the_sign_in_page_ends_nothing(signed_in: Site) -> None:
    """Browsers withhold the cookie: the page would tell all tabs that nobody is signed in."""
    text = await signed_in.text("/portal/sign-in?reason=ended", {"Sec-Fetch-Site": "cross-site"})
    assert "sign_in" not in text
    assert "/portal/sign-in?reason=ended" in text
    async with await signed_in.get("/portal/sign-in?reason=ended", {"Sec-Fetch-Site": "same-origin"}) as response:
        assert (response.status, response.headers["Location"]) == (303, "/portal/")


@pytest.mark.parametrize("value", ["\xff", "", "x" * 200])
def test_a_cookie_that_cannot_be_ours_is_none(value: str) -> None:
    cookies = Cookies(is_https=False)
    request = make_mocked_request("GET", "/portal/jobs", {"Cookie": f"portal-session={value}"})
    assert cookies.get(request, cookies.session) is None
