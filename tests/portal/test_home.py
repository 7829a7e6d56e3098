"""The home page: what needs attention, and how to begin."""

import httpx2
import pytest

from tests.portal.apis import JOB, OTHER, RESELLER, Apis, a_failed_record, a_good_record, a_job, problem
from tests.portal.site import Site

SECOND = "8d2f7bd0-cdbe-11f0-8de9-0242ac120002"


async def test_an_empty_site_is_shown_how_to_begin(signed_in: Site) -> None:
    text = await signed_in.text("/portal/")
    assert "Begin" in text
    assert "/omnichannel/api/v1/12345/orders?validateOnly=true" in text
    assert "Needs attention" not in text


async def test_failures_of_several_imports_are_summed_up(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(), a_job(SECOND, total=3, success=1, failed=2), a_job(JOB[:-1] + "3", failed=0)]
    apis.records[JOB] = [a_good_record(0), a_failed_record(1)]
    apis.records[SECOND] = [a_failed_record(0), a_failed_record(1, product="8888", currency="USD")]
    text = await signed_in.text("/portal/")
    assert "3 records failed" in text
    assert "in 2 imports of the last 7 days" in text
    assert "they hold up €41.00 + $20.50" in text
    assert "2 unknown products" in text
    assert text.index('"tag">9999') < text.index('"tag">8888')
    assert "25 of 100 records in the last second" in text


async def test_a_site_without_failures_has_nothing_to_do(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(failed=0, success=3)]
    text = await signed_in.text("/portal/")
    assert "Nothing. No import of the last 7 days has failures." in text
    assert "Latest imports" in text


async def test_failures_of_the_last_seven_days_are_looked_for(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(failed=0, success=3)]
    await signed_in.text("/portal/")
    asked = [request.url.params for request in apis.requests if "state" in request.url.params]
    assert {params["state"] for params in asked} == {"COMPLETED_WITH_WARNING", "FAILED", "EXPIRED"}
    assert {params["from"][:10] for params in asked} == {"2026-11-23"}


async def test_failures_of_an_import_that_has_ended_are_read_once(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(), a_job(SECOND, state="VALIDATING", completedAt=None)]
    apis.records[JOB] = apis.records[SECOND] = [a_failed_record(2)]
    for path in ("/portal/", "/portal/", f"/portal/jobs/{JOB}", f"/portal/jobs/{SECOND}", f"/portal/jobs/{SECOND}"):
        await signed_in.text(path)
    read = [request.url.path.split("/")[5] for request in apis.requests if request.url.params.get("rows") == "1000"]
    assert read == [JOB, SECOND, SECOND]


async def test_codes_that_are_still_to_come_are_counted(signed_in: Site, apis: Apis) -> None:
    counts = {"ordered": 5, "delivered": 2, "pending": 3, "cancelled": 0}
    order: dict[str, object] = {
        "transactionId": "t1",
        "clientOrderNumber": None,
        "purchaseOrder": {"id": "p1", "businessDate": "2026-11-30", "currency": "USD"},
        "status": "PROCESSING",
        "createdAt": "2026-11-30T10:00:00Z",
        "lines": [],
        "counts": counts,
        "total": "1.00",
        "deadline": "2026-12-01T10:00:00Z",
    }
    apis.orders = [order, order]
    apis.jobs["12345"] = [a_job(failed=0, success=3)]
    text = await signed_in.text("/portal/")
    assert "6 codes" in text
    assert "of 2 orders are still to come" in text


async def test_a_client_sees_what_its_scopes_allow(site: Site, apis: Apis) -> None:
    async with await site.sign_in(RESELLER):
        pass
    text = await site.text("/portal/")
    assert "Codes pending" in text
    assert "Rate limit" not in text
    assert "Begin" not in text
    assert not [request for request in apis.requests if not request.url.path.startswith("/fulfilment/")]


async def test_a_part_that_is_forbidden_is_left_out(signed_in: Site, apis: Apis) -> None:
    apis.fails = lambda request: problem(403, "FORBIDDEN") if request.url.path.endswith("/limits") else None
    assert "Rate limit" not in await signed_in.text("/portal/")


async def test_another_site_sees_nothing_of_it(site: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job()]
    apis.records[JOB] = [a_failed_record(2)]
    async with await site.sign_in(OTHER):
        pass
    text = await site.text("/portal/")
    assert "Begin" in text
    assert JOB not in text


@pytest.mark.parametrize("path", ["/limits", "/jobs", "/orders"])
async def test_without_an_api_it_says_so(signed_in: Site, apis: Apis, path: str) -> None:
    def fail(request: httpx2.Request) -> httpx2.Response | None:
        return problem(503, "UNAVAILABLE") if request.url.path.endswith(path) else None

    apis.fails = fail
    assert "Nothing is lost" in await signed_in.text("/portal/", status=503)
