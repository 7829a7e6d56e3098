"""Pages for developers: documents, requests from the browser, topics, records."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx2
import pytest

from services.chassis.avro.wire_format import prefix
from tests.portal.apis import CUSTOMER, OPERATOR, RESELLER, Apis, problem
from tests.portal.public_files import SCHEMAS
from tests.portal.site import Site
from tests.support.audit_log import FakeAuditLog
from tests.validator.records import a_job, an_order, as_bytes

BASE = "/portal/developers"
ORDERS = f"{BASE}/apis/omnichannel/importOrders"
LIMITS = f"{BASE}/apis/omnichannel/readLimits"


async def send(site: Site, path: str, fields: Mapping[str, str], *, status: int = 200) -> str:
    """Send an operation's form, and return the page."""
    form = {"form_token": await site.form_token(path), **fields}
    async with await site.post(path, form) as response:
        text = await response.text()
        assert response.status == status, text
        return text


def fail_for(part: str, response: httpx2.Response) -> Callable[[httpx2.Request], httpx2.Response | None]:
    return lambda request: response if part in request.url.path else None


async def test_the_overview_shows_limits_rights_and_apis(signed_in: Site) -> None:
    text = await signed_in.text(BASE)
    assert "Records in any second" in text
    assert "75" in text
    assert "status:read" in text
    assert f'href="{BASE}/apis/omnichannel"' in text
    assert f'href="{BASE}/apis/auth-admin"' not in text


async def test_an_api_that_does_not_answer_does_not_hide_the_others(signed_in: Site, apis: Apis) -> None:
    apis.fails = fail_for("/ledger/openapi", problem(503, "UNAVAILABLE"))
    text = await signed_in.text(BASE)
    assert "No answer" in text
    assert f'href="{BASE}/apis/events"' in text
    assert f'href="{BASE}/apis/ledger"' not in text
    await signed_in.text(f"{BASE}/apis/ledger", status=503)


async def test_a_broken_document_is_an_api_that_does_not_answer(signed_in: Site, apis: Apis) -> None:
    apis.fails = fail_for("/events/openapi", httpx2.Response(200, content=b"openapi: [1\n"))
    assert "No answer" in await signed_in.text(BASE)


async def test_documents_are_fetched_once_in_a_while(signed_in: Site, apis: Apis) -> None:
    for _ in range(3):
        await signed_in.text(f"{BASE}/apis/events")
    assert [request.url.path for request in apis.requests].count("/events/openapi.yaml") == 1


async def test_a_client_without_imports_sees_no_limits(site: Site, apis: Apis) -> None:
    async with await site.sign_in(RESELLER):
        pass
    text = await site.text(BASE)
    assert "Limits of your site" not in text
    assert not [request for request in apis.requests if request.url.path.endswith("/limits")]


async def test_an_operator_reads_the_administrations_document(site: Site) -> None:
    async with await site.sign_in(OPERATOR):
        pass
    assert "putSite" in await site.text(f"{BASE}/apis/auth-admin")
    assert "https://ADMIN_HOST/auth-admin/v1/sites" in await site.text(f"{BASE}/apis/auth-admin/listSites")


@pytest.mark.parametrize(
    "path", ["/apis/auth-admin", "/apis/auth-admin/putSite", "/apis/nothing", "/apis/events/nothing", "/topics/nothing"]
)
async def test_what_is_not_there_for_a_customer_is_404(signed_in: Site, path: str) -> None:
    await signed_in.text(BASE + path, status=404)


async def test_a_dry_run_is_what_the_form_begins_with(signed_in: Site) -> None:
    text = await signed_in.text(ORDERS)
    assert '<option value="true" selected>' in text
    assert 'value="12345"' in text
    assert "this changes data" not in text
    assert "client.imports.validate(body)" in text


async def test_calls_to_copy_hold_neither_token_nor_secret(signed_in: Site, apis: Apis) -> None:
    text = await signed_in.text(ORDERS)
    assert "Bearer $ACCESS_TOKEN" in text
    assert "CLIENT_SECRET" in text
    assert not [secret for secret in apis.secrets.values() if secret in text]


async def test_a_request_is_sent_with_the_sessions_token_and_its_response_is_shown(signed_in: Site, apis: Apis) -> None:
    fields = {"p.apiKey": "12345", "p.validateOnly": "true", "body": '[{"id": "<b>1</b>", "price": 10.50}]'}
    text = await send(signed_in, ORDERS, fields)
    (sent,) = apis.imported
    assert (sent.method, sent.url.raw_path) == ("POST", b"/omnichannel/api/v1/12345/orders?validateOnly=true")
    assert sent.headers["authorization"].startswith("Bearer h.")
    assert sent.content == fields["body"].encode()
    assert "202 Accepted" in text
    assert "x-request-id" in text
    assert "&lt;b&gt;1&lt;/b&gt;" in text
    assert "<b>1</b>" not in text
    assert "Bearer h." not in text


async def test_a_form_without_a_dry_run_warns_before_it_changes_data(signed_in: Site) -> None:
    text = await signed_in.text(f"{ORDERS}?p.validateOnly=false")
    assert "Send: this changes data" in text


async def test_an_error_of_the_api_is_shown_as_it_is(signed_in: Site, apis: Apis) -> None:
    apis.fails = fail_for("/limits", problem(429, "RATE_LIMITED"))
    text = await send(signed_in, LIMITS, {"p.apiKey": "12345"})
    assert "429 Too Many Requests" in text
    assert "RATE_LIMITED" in text


async def test_a_request_is_sent_once_whatever_comes_of_it(signed_in: Site, apis: Apis) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path.endswith("/limits"):
            raise httpx2.ReadError("reset")
        return None

    apis.fails = fail
    text = await send(signed_in, LIMITS, {"p.apiKey": "12345"}, status=502)
    assert "The API does not answer" in text
    assert len([request for request in apis.requests if request.url.path.endswith("/limits")]) == 1


async def test_a_long_response_is_cut(signed_in: Site, apis: Apis) -> None:
    apis.fails = fail_for("/limits", httpx2.Response(200, text="x" * 400_000))
    text = await send(signed_in, LIMITS, {"p.apiKey": "12345"})
    assert "Only the beginning is shown." in text
    assert len(text) < 60_000


@pytest.mark.parametrize("key", ["../../../auth-admin/v1", "//evil.example/x", "a?b#c", "%2e%2e"])
async def test_no_value_leads_out_of_the_operations_path(signed_in: Site, apis: Apis, key: str) -> None:
    await send(signed_in, ORDERS, {"p.apiKey": key, "body": "[]"})
    (sent,) = [request for request in apis.requests if request.method == "POST"]
    assert sent.url.host == "127.0.0.1"
    assert sent.url.raw_path == f"/omnichannel/api/v1/{quote(key, safe='')}/orders".encode()


@pytest.mark.parametrize("key", ["..", "."])
async def test_dots_are_no_value_of_a_path(signed_in: Site, apis: Apis, key: str) -> None:
    text = await send(signed_in, ORDERS, {"p.apiKey": key, "body": "[]"}, status=400)
    assert "apiKey cannot be" in text
    assert not apis.imported


async def test_values_stay_in_the_form_when_something_is_wrong(signed_in: Site, apis: Apis) -> None:
    text = await send(signed_in, ORDERS, {"p.apiKey": "12345", "body": '{"mine": tru}'}, status=400)
    assert "The body is not JSON" in text
    assert "mine" in text
    assert not apis.imported


async def test_a_client_without_the_apis_rights_is_told_so(site: Site) -> None:
    async with await site.sign_in(RESELLER):
        pass
    text = await send(site, LIMITS, {"p.apiKey": "12345"}, status=502)
    assert "Your client gets no token for this API" in text


async def test_operations_that_take_credentials_cannot_be_sent(signed_in: Site, apis: Apis) -> None:
    path = f"{BASE}/apis/auth/issueImportToken"
    assert "should not be entered here" in await signed_in.text(path)
    before = apis.token_requests
    form = {"form_token": await signed_in.form_token(path), "client_secret": "x"}
    async with await signed_in.post(path, form) as response:
        assert response.status == 404
    assert apis.token_requests == before


async def test_a_sent_request_is_audited_without_its_values(signed_in: Site) -> None:
    audit = FakeAuditLog()
    object.__setattr__(signed_in.components.developers, "audit", audit)
    await send(signed_in, ORDERS, {"p.apiKey": "12345", "body": '["canary"]'})
    (line,) = audit.lines
    assert (line["action"], line["operation"]) == ("request sent from the portal", "omnichannel.importOrders")
    assert (line["actor"], line["site"], line["status"], line["source"]) == (CUSTOMER, 608, 202, "127.0.0.1")
    assert "canary" not in str(line)


async def test_a_request_from_another_site_is_not_sent(signed_in: Site, apis: Apis) -> None:
    form = {"form_token": await signed_in.form_token(ORDERS), "p.apiKey": "12345", "body": "[]"}
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    async with await signed_in.post(ORDERS, form, headers=headers) as response:
        assert response.status == 403
    assert not apis.imported


async def test_a_topic_shows_its_schema_and_an_example(signed_in: Site) -> None:
    assert f'href="{BASE}/topics/orders.submitted.v1"' in await signed_in.text(f"{BASE}/topics")
    text = await signed_in.text(f"{BASE}/topics/orders.submitted.v1")
    assert "site | channel | id" in text
    assert f"id {SCHEMAS['order'].schema_id}" in text
    assert '"lineItems"' in text


async def test_a_topic_that_the_registry_does_not_know_is_shown_without_schema(signed_in: Site) -> None:
    text = await signed_in.text(f"{BASE}/topics/jobs.finished.v1")
    assert "The registry has no schema of this topic yet." in text


ORDER = as_bytes(an_order(job=a_job()))


@pytest.mark.parametrize("text", [b64encode(ORDER).decode(), ORDER.hex(), f"0x{ORDER.hex(' ')}"])
async def test_a_record_is_decoded(signed_in: Site, text: str) -> None:
    page = await send(signed_in, f"{BASE}/decode", {"value": text})
    assert "1723ABC" in page
    assert "256.678000" in page


async def test_a_record_with_its_schemas_id_in_a_header_is_decoded(signed_in: Site) -> None:
    header = prefix(SCHEMAS["order"].schema_id).hex()
    assert "1723ABC" in await send(signed_in, f"{BASE}/decode", {"value": ORDER[5:].hex(), "header": header})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "Paste the bytes"),
        ("!!", "neither base64 nor hexadecimal"),
        ("01" + "00" * 9, "The wire format is unknown"),
        ("00ffffffff00", "No schema has the id"),
        (ORDER[:-3].hex(), "are not a valid"),
        ((ORDER + b"\0").hex(), "left over"),
        ("00" * 100_001, "At most 200,000 characters"),
    ],
)
async def test_what_cannot_be_decoded_is_explained(signed_in: Site, value: str, reason: str) -> None:
    assert reason in await send(signed_in, f"{BASE}/decode", {"value": value}, status=400)
