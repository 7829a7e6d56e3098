"""Administration: sites, clients, signing keys, revocations; for operators only."""

from typing import Any

import httpx2
import pytest

from tests.portal.admin_api import SECRET as NEW_SECRET
from tests.portal.admin_api import FakeAdminApi, a_client
from tests.portal.apis import OPERATOR, Apis, problem
from tests.portal.conftest import OpenSite
from tests.portal.site import NOW_US, Site

BASE = "/portal/operator"
CLIENT = f"{BASE}/clients/shop"
NOW = NOW_US // 1_000_000


@pytest.fixture
def admin(apis: Apis) -> FakeAdminApi:
    """Auth's admin API."""
    made = FakeAdminApi()
    apis.fails = made.answer
    return made


@pytest.fixture
async def operator(site: Site, admin: FakeAdminApi) -> Site:
    """A browser of an operator who is signed in."""
    del admin
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    return site


async def post(
    site: Site, path: str, form: dict[str, str], *, page: str = CLIENT, status: int = 303
) -> tuple[str, str]:
    """Send a form of a page; return where it leads, and the page."""
    async with await site.post(path, {"form_token": await site.form_token(page), **form}) as response:
        text = await response.text()
        assert response.status == status, text
        return response.headers.get("Location", ""), text


PATHS = ["", "/sites/new", "/sites/608", "/clients", "/clients/shop", "/clients/shop/disable", "/new-client", "/keys"]


@pytest.mark.usefixtures("admin")
@pytest.mark.parametrize("path", PATHS)
async def test_customers_have_no_administration(signed_in: Site, apis: Apis, path: str) -> None:
    await signed_in.text(BASE + path, status=403)
    assert BASE not in await signed_in.text("/portal/developers")
    assert not [request for request in apis.requests if request.url.path.startswith("/auth-admin/v1")]


@pytest.mark.usefixtures("admin")
@pytest.mark.parametrize(
    "path",
    [
        *("/sites/new", "/sites/608", "/clients", "/clients/shop", "/clients/shop/secrets", "/clients/shop/disable"),
        *("/clients/shop/secrets/s1/remove", "/clients/shop/revoke", "/revocations", "/keys"),
    ],
)
async def test_customers_change_nothing_there(signed_in: Site, apis: Apis, path: str) -> None:
    await post(signed_in, BASE + path, {}, page="/portal/developers/decode", status=403)
    assert not [request for request in apis.requests if request.url.path.startswith("/auth-admin/v1")]


async def test_each_page_is_a_call_with_the_operators_own_token(operator: Site, apis: Apis) -> None:
    await operator.text(BASE)
    (call,) = [request for request in apis.requests if request.url.path == "/auth-admin/v1/sites"]
    assert call.url.host == "admin.example"
    assert call.headers["authorization"].startswith("Bearer h.")


async def test_sites_are_listed(operator: Site) -> None:
    text = await operator.text(BASE)
    assert f'href="{BASE}/sites/608"' in text
    assert f'href="{BASE}/clients?site=608"' in text
    assert "Dashboards" not in text


async def test_an_installation_with_grafana_leads_there(open_site: OpenSite, admin: FakeAdminApi) -> None:
    del admin
    site = await open_site(portal_grafana_url="https://grafana.example/d/overview")
    async with await site.sign_in(OPERATOR):
        pass
    assert 'href="https://grafana.example/d/overview"' in await site.text(BASE)


async def test_an_installation_without_sites_says_what_one_is(operator: Site, admin: FakeAdminApi) -> None:
    admin.sites = {}
    assert "No sites yet" in await operator.text(BASE)


SITE_FORM = {
    "site": "700",
    "name": "Corner <shop>",
    "appId": "1079",
    "rootSource": "api/qa",
    "datacenter": "qa",
    "timeZone": "Europe/Paris",
    "recordsPerSecond": "50",
    "reportCurrency": "EUR",
    "apiKeys": "shop-700 till\r\n\r\n web-700 \r\n",
    "invoiceAddress": "1 Market Street\r\nDemotown",
}


async def test_a_site_is_added(operator: Site, admin: FakeAdminApi) -> None:
    location, _ = await post(operator, f"{BASE}/sites/new", SITE_FORM, page=f"{BASE}/sites/new")
    assert location == BASE
    site = admin.sites["700"]
    assert (site["site"], site["appId"], site["recordsPerSecond"]) == (700, 1079, 50)
    assert site["apiKeys"] == [{"apiKey": "shop-700", "channel": "till"}, {"apiKey": "web-700"}]
    assert site["invoiceAddress"] == "1 Market Street\nDemotown"


@pytest.mark.parametrize(
    ("number", "reason"), [("608", "There is a site 608 already"), ("x", "whole number"), ("", "whole")]
)
async def test_a_new_site_replaces_none(operator: Site, admin: FakeAdminApi, number: str, reason: str) -> None:
    before = dict(admin.sites)
    form = SITE_FORM | {"site": number}
    _, text = await post(operator, f"{BASE}/sites/new", form, page=f"{BASE}/sites/new", status=400)
    assert reason in text
    assert "Corner &lt;shop&gt;" in text
    assert admin.sites == before


async def test_a_changed_site_keeps_what_the_form_does_not_have(operator: Site, admin: FakeAdminApi) -> None:
    admin.sites["608"]["later"] = "kept"
    page = f"{BASE}/sites/608"
    assert "shop-608 till" in await operator.text(page)
    await post(operator, page, SITE_FORM | {"site": "1"}, page=page)
    assert (admin.sites["608"]["site"], admin.sites["608"]["later"]) == (608, "kept")
    assert "700" not in admin.sites


async def test_what_the_api_refuses_stands_above_the_form(operator: Site, admin: FakeAdminApi) -> None:
    admin.refusal = httpx2.Response(400, json={"code": "INVALID_BODY", "detail": "site 608: timeZone is not known"})
    page = f"{BASE}/sites/608"
    _, text = await post(operator, page, SITE_FORM | {"timeZone": "Mars"}, page=page, status=400)
    assert "Site 608: timeZone is not known." in text
    assert 'value="Mars"' in text


@pytest.mark.parametrize("path", ["/sites/1", "/clients/nobody", "/clients/nobody/disable"])
async def test_what_is_not_there_is_404(operator: Site, path: str) -> None:
    await operator.text(BASE + path, status=404)


async def test_clients_are_listed_all_or_of_a_site(operator: Site, admin: FakeAdminApi) -> None:
    admin.clients["old"] = a_client("old", site=609, scopes=[])
    text = await operator.text(f"{BASE}/clients")
    assert f'href="{CLIENT}"' in text
    assert "Disabled" in text
    assert f'href="{BASE}/clients/old"' not in await operator.text(f"{BASE}/clients?site=608")


async def test_a_new_clients_secret_is_shown_once(operator: Site, admin: FakeAdminApi) -> None:
    form = {"clientId": "till", "site": "608", "apiKeys": "a, b", "scope.orders:write": "on", "scope.nonsense": "on"}
    _, text = await post(operator, f"{BASE}/clients", form, page=f"{BASE}/new-client", status=200)
    assert NEW_SECRET in text
    assert admin.changes[-1] == (
        "POST",
        "clients",
        {"clientId": "till", "site": 608, "apiKeys": ["a", "b"], "scopes": ["orders:write"]},
    )
    assert NEW_SECRET not in await operator.text(f"{BASE}/clients")


async def test_a_client_needs_a_right(operator: Site, admin: FakeAdminApi) -> None:
    form = {"clientId": "till", "site": "608"}
    _, text = await post(operator, f"{BASE}/clients", form, page=f"{BASE}/new-client", status=400)
    assert "Choose at least one right." in text
    assert admin.changes == []


async def test_the_right_to_administer_is_never_chosen_already(operator: Site) -> None:
    text = await operator.text(f"{BASE}/new-client")
    assert 'name="scope.orders:write" checked' in text
    assert 'name="scope.admin" checked' not in text


@pytest.mark.parametrize("failure", [httpx2.ReadError("reset"), problem(503, "UNAVAILABLE")])
@pytest.mark.parametrize(("path", "page"), [(f"{BASE}/clients", f"{BASE}/new-client"), (f"{CLIENT}/secrets", CLIENT)])
async def test_a_secret_that_was_lost_is_not_asked_for_twice(
    operator: Site, admin: FakeAdminApi, failure: httpx2.Response | Exception, path: str, page: str
) -> None:
    admin.refusal = failure
    form = {"clientId": "till", "scope.admin": "on"}
    _, text = await post(operator, path, form, page=page, status=503)
    assert "Nobody knows whether this was done" in text
    assert len(admin.changes) == 1


async def test_rights_and_keys_of_a_client_are_changed(operator: Site, admin: FakeAdminApi) -> None:
    form = {"apiKeys": "x y", "scope.status:read": "on", "scope.events:read": "on"}
    location, _ = await post(operator, CLIENT, form)
    assert location == CLIENT
    assert admin.changes == [
        ("PATCH", "clients/shop", {"apiKeys": ["x", "y"], "scopes": ["status:read", "events:read"]})
    ]


@pytest.mark.parametrize(("hours", "query"), [("", ""), ("24", "graceHours=24"), ("0", "graceHours=0")])
async def test_a_further_secret_is_shown_once(operator: Site, admin: FakeAdminApi, hours: str, query: str) -> None:
    _, text = await post(operator, f"{CLIENT}/secrets", {"graceHours": hours}, status=200)
    assert NEW_SECRET in text
    assert admin.queries[-1] == query


@pytest.mark.parametrize("hours", ["-1", "10000", "x"])
async def test_hours_that_are_no_hours_are_refused(operator: Site, admin: FakeAdminApi, hours: str) -> None:
    await post(operator, f"{CLIENT}/secrets", {"graceHours": hours}, status=400)
    assert admin.changes == []


async def test_a_secret_is_removed(operator: Site, admin: FakeAdminApi) -> None:
    await post(operator, f"{CLIENT}/secrets/s1/remove", {})
    assert admin.changes == [("DELETE", "clients/shop/secrets/s1", None)]


async def test_the_last_secret_stays_with_a_reason(operator: Site, admin: FakeAdminApi) -> None:
    admin.refusal = problem(409, "NOT_POSSIBLE")
    _, text = await post(operator, f"{CLIENT}/secrets/s1/remove", {}, status=400)
    assert "A reason." in text


async def test_disabling_takes_the_rights_and_revokes_the_tokens(operator: Site, admin: FakeAdminApi) -> None:
    assert "Disable this client?" in await operator.text(f"{CLIENT}/disable")
    await post(operator, f"{CLIENT}/disable", {})
    assert admin.changes == [("PATCH", "clients/shop", {"scopes": []}), ("POST", "clients/shop/revocations", None)]
    assert "Disabled" in await operator.text(CLIENT)


@pytest.mark.parametrize("path", ["", "/disable"])
async def test_nobody_locks_himself_out(operator: Site, admin: FakeAdminApi, path: str) -> None:
    admin.clients[OPERATOR] = a_client(OPERATOR, site=0, scopes=["admin"])
    await post(operator, f"{BASE}/clients/{OPERATOR}{path}", {}, status=409)
    assert admin.changes == []


async def test_tokens_are_revoked(operator: Site, admin: FakeAdminApi) -> None:
    location, _ = await post(operator, f"{CLIENT}/revoke", {})
    assert "All its tokens are revoked" in await operator.text(location)
    location, _ = await post(operator, f"{BASE}/revocations", {"token": " a/b "})
    assert "The token is revoked" in await operator.text(location)
    paths = [path for _, path, _ in admin.changes]
    assert paths == ["clients/shop/revocations", "tokens/a%2Fb/revocations"]
    await post(operator, f"{BASE}/revocations", {"token": " "}, status=400)


@pytest.mark.parametrize(("number", "text"), [(1, "Verifies only"), (2, "Signs"), (3, "Signs later")])
async def test_keys_say_what_they_do(operator: Site, admin: FakeAdminApi, number: int, text: str) -> None:
    admin.keys = [a_key(1, NOW - 900), a_key(2, NOW - 100), a_key(3, NOW + 100)]
    row = (await operator.text(f"{BASE}/keys")).split(f"key-{number}<")[1].split("</tr>")[0]
    assert f">{text}</span>" in " ".join(row.split()).replace("</svg>", ">")


async def test_the_next_key_is_added(operator: Site, admin: FakeAdminApi) -> None:
    await post(operator, f"{BASE}/keys", {}, page=f"{BASE}/keys")
    assert admin.changes == [("POST", "keys", None)]


def a_key(number: int, signs_from: int) -> dict[str, Any]:
    return {"number": number, "kid": f"key-{number}", "algorithm": "RS256", "signsFrom": signs_from}


async def test_secrets_are_in_no_log(operator: Site, capsys: pytest.CaptureFixture[str]) -> None:
    await post(operator, f"{CLIENT}/secrets", {}, status=200)
    output = capsys.readouterr()
    assert NEW_SECRET not in output.out + output.err
