"""Imports: the list, one of them, and its files."""

import csv
import io
import json
import re
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from aiohttp import ClientError
from python_calamine import CalamineWorkbook

from tests.portal.apis import JOB, OTHER, RESELLER, Apis, a_failed_record, a_good_record, a_job, problem
from tests.portal.site import Site


@pytest.fixture
def job(apis: Apis) -> dict[str, Any]:
    """A job of three records, one of which has failed."""
    made = a_job()
    apis.jobs["12345"] = [made]
    apis.records[JOB] = [a_good_record(0), a_good_record(1), a_failed_record(2)]
    return made


async def test_a_site_without_imports_is_told_so(signed_in: Site) -> None:
    text = await signed_in.text("/portal/jobs")
    assert "No imports yet" in text
    assert "How to begin" in text


@pytest.mark.usefixtures("job")
async def test_the_list_shows_what_became_of_an_import(signed_in: Site) -> None:
    text = await signed_in.text("/portal/jobs")
    assert f'href="/portal/jobs/{JOB}"' in text
    assert "Some failed" in text
    assert "11:15" in text  # in Paris
    assert "10:15 UTC" in text


async def test_a_list_has_fifty_imports_a_page(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(str(uuid4()), failed=0) for _ in range(120)]
    path, seen = "/portal/jobs?state=COMPLETED", list[str]()
    while path:
        text = await signed_in.text(path)
        links = re.findall(r'class="row-link" href="([^"]+)"', text)
        assert len(links) <= 50
        seen += [link.rpartition("/")[2] for link in links]
        following = [part for part in text.split('href="') if 'rel="next"' in part[:200]]
        path = following[0].split('"')[0] if following else ""
        assert not path or "state=COMPLETED" in path
    assert sorted(seen) == sorted(job["jobId"] for job in apis.jobs["12345"])


@pytest.mark.parametrize(
    ("query", "sent"),
    [
        ("state=FAILED", {"state": "FAILED"}),
        ("type=returns&mode=online", {"type": "returns", "mode": "online"}),
        ("from=2026-11-01&to=2026-11-30", {"from": "2026-11-01", "to": "2026-11-30"}),
        ("state=&type=&from=", {}),
    ],
)
async def test_filters_are_passed_on(signed_in: Site, query: str, sent: dict[str, str]) -> None:
    await signed_in.text(f"/portal/jobs?{query}")
    params = dict(signed_in.apis.requests[-1].url.params)
    assert params == {"rows": "50", **sent}


@pytest.mark.parametrize("query", ["state=BROKEN", "type=x", "mode=x", "from=yesterday", "to=2026-13-01"])
async def test_a_filter_that_is_not_understood_is_named_and_ignored(signed_in: Site, query: str) -> None:
    text = await signed_in.text(f"/portal/jobs?{query}")
    assert "ignored" in text
    assert dict(signed_in.apis.requests[-1].url.params) == {"rows": "50"}


async def test_a_page_token_that_has_expired_leads_back_to_the_first_page(signed_in: Site) -> None:
    text = await signed_in.text("/portal/jobs?page=nonsense", status=400)
    assert 'href="/portal/jobs"' in text


@pytest.mark.parametrize(("sought", "target"), [(JOB, JOB), ("<script>", "unknown"), ("a/b", "unknown")])
async def test_an_import_is_found_by_its_id(signed_in: Site, sought: str, target: str) -> None:
    async with await signed_in.get("/portal/jobs?" + httpx2.QueryParams(job=sought).__str__()) as response:
        assert (response.status, response.headers["Location"]) == (303, f"/portal/jobs/{target}")


@pytest.mark.parametrize(
    ("counts", "pending"),
    [({"total": 10, "success": 4, "failed": 3}, 3), ({"total": 5, "success": 5, "failed": 0}, 0)],
)
async def test_counts_always_add_up(signed_in: Site, apis: Apis, counts: dict[str, Any], pending: int) -> None:
    apis.jobs["12345"] = [a_job(state="VALIDATING", completedAt=None, **counts)]
    text = await signed_in.text(f"/portal/jobs/{JOB}")
    figures = [part.split("</dd>")[0] for part in text.split("<dd>")[1:5]]
    shown = [int(figure.split("<")[0]) for figure in figures]
    assert shown == [counts["total"], counts["success"], counts["failed"], pending]
    assert shown[0] == sum(shown[1:])
    assert "data-unfinished" in text


async def test_what_was_not_processed_in_time_is_not_called_pending(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(total=3, success=1, failed=0, state="EXPIRED")]
    text = await signed_in.text(f"/portal/jobs/{JOB}")
    assert "Not processed" in text
    assert "Pending" not in text


@pytest.mark.usefixtures("job")
async def test_failures_are_grouped_with_samples_and_the_money_that_is_held_up(signed_in: Site, apis: Apis) -> None:
    apis.records[JOB] = [a_failed_record(0), a_failed_record(1), a_failed_record(2, product=None, currency="USD")]
    text = await signed_in.text(f"/portal/jobs/{JOB}", {"Accept-Language": "de-DE,de;q=0.9,en;q=0.5"})
    assert text.index("Unknown product") < text.index("Missing value")
    assert "No product is found for product ID 9999" in text
    assert "/lineItems/quantity" in text
    assert "41,00\xa0€" in text
    assert "20,50\xa0$" in text


@pytest.mark.usefixtures("job")
async def test_records_are_shown_by_outcome(signed_in: Site) -> None:
    failed = await signed_in.text(f"/portal/jobs/{JOB}?outcome=failed")
    assert "O2" in failed
    assert "O1<" not in failed
    assert "O1<" in await signed_in.text(f"/portal/jobs/{JOB}?outcome=succeeded")
    assert "No such records" in await signed_in.text(f"/portal/jobs/{JOB}?outcome=unprocessed")


@pytest.mark.parametrize(
    "path",
    [f"/portal/jobs/{JOB}", f"/portal/jobs/{JOB}/records.csv", "/portal/jobs/unknown", "/portal/jobs/%2e%2e%2fx"],
)
@pytest.mark.usefixtures("job")
async def test_the_import_of_another_site_does_not_exist(site: Site, path: str) -> None:
    async with await site.sign_in(OTHER):
        pass
    text = await site.text(path, status=404)
    assert "No such import" in text or "No such page" in text
    assert 'href="/portal/' in text


@pytest.mark.usefixtures("job")
async def test_who_may_not_read_imports_is_told_what_is_missing(site: Site) -> None:
    async with await site.sign_in(RESELLER):
        pass
    assert "status:read" in await site.text("/portal/jobs", status=403)
    assert 'href="/portal/jobs"' not in await site.text("/portal/")


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (problem(503, "UNAVAILABLE"), 503, "Nothing is lost"),
        (problem(429, "RATE_LIMITED"), 429, "Try again in"),
        (problem(403, "FORBIDDEN"), 403, "Ask your administrator"),
        (httpx2.Response(200, text="<html>"), 503, "Nothing is lost"),
    ],
)
async def test_an_error_says_what_to_do(signed_in: Site, failure: httpx2.Response, status: int, words: str) -> None:
    def fail(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(failure.status_code, headers=failure.headers, content=failure.content)

    signed_in.apis.fails = fail
    text = await signed_in.text("/portal/jobs", status=status)
    assert words in text
    assert 'href="/portal/"' in text


# Files.


@pytest.mark.usefixtures("job")
async def test_failed_records_are_downloaded_as_csv_to_be_mended(signed_in: Site) -> None:
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.csv?outcome=failed") as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="failed-7c1f7bd0.csv"'
        text = (await response.read()).decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["id"], row["productId"], row["quantity"], row["unitPrice"]) == ("O2", "9999", "2", "10.25")
    expected = "/lineItems/0/productId PRODUCT_NOT_FOUND: No product is found for product ID 9999"
    assert row["_errors"] == expected


@pytest.mark.usefixtures("job")
async def test_a_record_of_two_lines_has_two_rows(signed_in: Site, apis: Apis) -> None:
    lines = [{"productId": f"p{n}", "quantity": n, "unitPrice": "1"} for n in (1, 2)]
    apis.records[JOB] = [a_failed_record(0, lineItems=lines, segmentIds=[1, 2])]
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.csv?outcome=failed") as response:
        rows = list(csv.DictReader(io.StringIO((await response.read()).decode("utf-8-sig"))))
    assert [(row["id"], row["productId"], row["segmentIds"], bool(row["_errors"])) for row in rows] == [
        ("O0", "p1", "1,2", True),
        ("O0", "p2", "1,2", False),
    ]


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"]


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.usefixtures("job")
async def test_no_text_is_a_formula_in_csv(signed_in: Site, apis: Apis, text: str) -> None:
    apis.records[JOB] = [a_failed_record(0, userId=text, regionId=-1)]
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.csv?outcome=failed") as response:
        rows = list(csv.DictReader(io.StringIO((await response.read()).decode("utf-8-sig"), newline="")))
    assert rows[0]["userId"] == f"'{text}"
    assert rows[0]["regionId"] == "-1"


@pytest.mark.usefixtures("job")
async def test_a_spreadsheet_holds_texts_and_no_formula(signed_in: Site, apis: Apis) -> None:
    apis.records[JOB] = [a_failed_record(0, userId="=1+1")]
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.xlsx?outcome=failed") as response:
        content = await response.read()
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()
    row = dict(zip(sheet[0], sheet[1], strict=True))
    assert (row["userId"], row["unitPrice"]) == ("=1+1", "10.25")


@pytest.mark.usefixtures("job")
async def test_failed_records_are_downloaded_as_they_were_sent(signed_in: Site) -> None:
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.ndjson?outcome=failed") as response:
        (record,) = [json.loads(line) for line in (await response.text()).splitlines()]
    assert record["lineItems"] == [{"productId": "9999", "quantity": 2, "unitPrice": "10.25"}]
    assert record["_errors"].startswith("/lineItems/0/productId PRODUCT_NOT_FOUND")


@pytest.mark.parametrize(("outcome", "ids"), [("", ["O2"]), ("?outcome=succeeded", ["O0", "O1"])])
@pytest.mark.usefixtures("job")
async def test_outcomes_are_downloaded(signed_in: Site, outcome: str, ids: list[str]) -> None:
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.csv{outcome}") as response:
        rows = list(csv.DictReader(io.StringIO((await response.read()).decode("utf-8-sig"))))
    assert [row["id"] for row in rows] == ids


async def test_a_file_that_breaks_off_does_not_look_whole(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(total=2_345, success=0, failed=2_345)]
    apis.records[JOB] = [a_failed_record(number) for number in range(2_345)]
    apis.fails = lambda request: problem(503, "UNAVAILABLE") if "page" in request.url.params else None
    async with await signed_in.get(f"/portal/jobs/{JOB}/records.csv?outcome=failed") as response:
        with pytest.raises(ClientError):
            await response.read()


async def test_a_large_file_is_sent_whole(signed_in: Site, apis: Apis) -> None:
    apis.jobs["12345"] = [a_job(total=2_345, success=0, failed=2_345)]
    apis.records[JOB] = [a_failed_record(number) for number in range(2_345)]
    for name, rows in (("csv", 2_346), ("ndjson", 2_345)):
        async with await signed_in.get(f"/portal/jobs/{JOB}/records.{name}?outcome=failed") as response:
            assert len((await response.read()).splitlines()) == rows
