"""Requests that change something: which are taken for forged. And the headers of every response."""

from collections.abc import Mapping

import pytest

from tests.portal.apis import CUSTOMER, SECRET
from tests.portal.site import ORIGIN, Site

GOOD = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
HEADERS = [
    (GOOD, 303),
    ({"Origin": ORIGIN}, 303),
    ({"Sec-Fetch-Site": "same-origin"}, 303),
    ({"Origin": "http://localhost:8080"}, 303),
    ({"Origin": "http://[::1]:8080"}, 303),
    ({}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "http://127.0.0.1:8081"}, 403),
    ({"Origin": "https://127.0.0.1:8080"}, 403),
    ({"Origin": "http://127.0.0.1.evil.example:8080"}, 403),
    (GOOD | {"Origin": "https://evil.example"}, 403),
    (GOOD | {"Sec-Fetch-Site": "same-site"}, 403),
    (GOOD | {"Sec-Fetch-Site": "cross-site"}, 403),
    (GOOD | {"Sec-Fetch-Site": "none"}, 403),
]
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)


@pytest.mark.parametrize(("headers", "status"), HEADERS)
async def test_only_forms_of_our_own_pages_sign_out(signed_in: Site, headers: Mapping[str, str], status: int) -> None:
    token = await signed_in.form_token("/portal/jobs")
    async with await signed_in.post("/portal/sign-out", {"form_token": token}, headers=headers) as response:
        assert response.status == status
    async with await signed_in.get("/portal/jobs") as response:
        assert response.status == (303 if status == 303 else 200)


@pytest.mark.parametrize(("headers", "status"), HEADERS)
async def test_only_the_form_of_our_own_page_signs_in(site: Site, headers: Mapping[str, str], status: int) -> None:
    form = {"form_token": await site.form_token(), "client_id": CUSTOMER, "client_secret": SECRET}
    async with await site.post("/portal/sign-in", form, headers=headers) as response:
        assert response.status == status


@pytest.mark.parametrize("token", ["", "x", "x.y", None, "of another session"])
async def test_a_form_needs_the_token_of_its_session(signed_in: Site, token: str | None) -> None:
    form = {} if token is None else {"form_token": token}
    if token == "of another session":
        form["form_token"] = await signed_in.form_token("/portal/jobs")
        signed_in.client.session.cookie_jar.clear()
        async with await signed_in.sign_in():
            pass
    async with await signed_in.post("/portal/sign-out", form) as response:
        assert response.status == 403
        assert "This form has expired" in await response.text()


async def test_a_form_of_another_browser_does_not_sign_in(site: Site) -> None:
    """Breaks: somebody is signed in as the attacker, and enters his data there."""
    form = {"form_token": await site.form_token(), "client_id": CUSTOMER, "client_secret": SECRET}
    site.client.session.cookie_jar.clear()
    async with await site.post("/portal/sign-in", form) as response:
        assert response.status == 403


async def test_each_page_has_a_token_of_its_own(signed_in: Site) -> None:
    assert await signed_in.form_token("/portal/jobs") != await signed_in.form_token("/portal/jobs")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{}", "application/json", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 300_000, "application/x-www-form-urlencoded", 413),
        ("a=é".encode(), "application/x-www-form-urlencoded", 400),
    ],
)
async def test_a_body_that_is_no_form_is_refused(site: Site, body: bytes, content_type: str, status: int) -> None:
    headers = GOOD | {"Content-Type": content_type}
    async with site.client.post("/portal/sign-in", data=body, headers=headers, allow_redirects=False) as response:
        assert response.status == status


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/portal",
        "/portal/",
        "/portal/jobs",
        "/portal/sign-in",
        "/portal/nowhere",
        "/portal/live",
        "/portal/static/x/y",
    ],
)
async def test_every_response_has_the_headers(site: Site, path: str) -> None:
    async with await site.get(path) as response:
        assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "strict-origin"
        assert response.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/portal/", "/portal/jobs", "/portal/jobs/unknown"])
async def test_no_cache_keeps_a_page(signed_in: Site, path: str) -> None:
    async with await signed_in.get(path) as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_static_files_are_cached_for_good_under_a_path_that_changes_with_them(site: Site) -> None:
    path = site.components.static.url("portal.css")
    async with await site.get(path) as response:
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["Content-Type"] == "text/css; charset=utf-8"
        etag = response.headers["ETag"]
    async with await site.get(path, {"If-None-Match": etag}) as response:
        assert response.status == 304
    async with await site.get(path.replace(site.components.static.version, "of-another-replica")) as response:
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-cache")
    async with await site.get(path.replace("portal.css", "..%2fapp.py")) as response:
        assert response.status == 404


async def test_a_body_of_a_page_is_compressed_if_the_browser_reads_that(signed_in: Site) -> None:
    async with await signed_in.get("/portal/jobs", {"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert "<!DOCTYPE html>" in await response.text()
    async with await signed_in.get("/portal/jobs", {"Accept-Encoding": "identity"}) as response:
        assert "Content-Encoding" not in response.headers
