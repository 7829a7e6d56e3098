"""Pages of events and of jobs: each entry once, tokens, and what cannot be asked for."""

import json
from typing import Any
from uuid import uuid4

import pytest

from services.status.domain.facts import Header
from tests.status.api_side import HERE, Desk, a_key, desk
from tests.status.events import CREATED_US, a_header, a_run, judged, opened

__all__ = ["desk"]


async def test_pagination_is_there_only_if_asked_for_or_needed(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    assert "pagination" not in await desk.read()
    assert "pagination" in await desk.read(rows=5)
    assert "pagination" in await desk.read(showAll=0)
    header = a_header(5_001, key=a_key(str(uuid4())))
    await desk.record(opened(header), judged(a_run("F" * 5_001), header))
    body = await desk.read(f"/common-status/v1/12345/job/{header.key.job_id}/events")
    assert (body["pagination"]["count"], body["summary"]["total-events"]) == (5_000, 5_001)
    assert body["pagination"]["nextPageToken"]


@pytest.mark.parametrize("name", ["page", "pageToken", "nextPageToken"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_give_every_event_once(desk: Desk, name: str, order: str) -> None:
    await desk.record(opened(a_header(25)), judged(a_run("SFF" * 8 + "F"), a_header(25)))
    whole = [event["statusId"] for event in (await desk.read())["result"]]
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 5, "order": order}
    while True:
        response = await desk.get(HERE + "/events", **query)
        body = json.loads(await response.text())
        seen += [event["statusId"] for event in body["result"]]
        token = body["pagination"]["nextPageToken"]
        if token is None:
            assert "Link" not in response.headers
            break
        assert response.headers["Link"].endswith('>; rel="next"')
        assert token in response.headers["Link"]
        query[name] = token
    assert len(set(seen)) == 17
    assert seen == (whole if order == "asc" else whole[::-1])


async def test_pages_that_end_at_the_border_of_a_chunk_miss_nothing(desk: Desk) -> None:
    header = a_header(502)
    await desk.record(judged(a_run("F" * 502), header))
    for order, expected in (("desc", [501, 500, 499]), ("asc", [499, 500, 501])):
        query: dict[str, Any] = {"rows": 499 if order == "asc" else 1, "order": order}
        seen = []
        for _ in range(4):
            body = await desk.read(**query)
            seen += [event["attributes"]["index"] for event in body["result"]]
            query = {"rows": 1, "order": order, "page": body["pagination"]["nextPageToken"]}
        assert seen[:3] == expected if order == "desc" else seen[499:] == expected


async def test_the_last_page_of_a_running_job_goes_on_where_it_stopped(desk: Desk) -> None:
    header = a_header(6)
    await desk.record(opened(header), judged(a_run("FF"), header), judged(a_run("F", 4), header))
    first = await desk.read(rows=10)
    assert [event["attributes"]["index"] for event in first["result"]] == [0, 1]
    token = first["pagination"]["nextPageToken"]
    again = await desk.read(rows=10, page=token)
    assert (again["result"], again["pagination"]["nextPageToken"]) == ([], token)
    await desk.record(judged(a_run("FF", 2), header), judged(a_run("S", 5), header))
    rest = await desk.read(rows=10, page=token)
    assert [event["attributes"]["index"] for event in rest["result"]] == [2, 3, 4]
    assert rest["pagination"]["nextPageToken"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"rows": "0"}, "INVALID_ROWS"),
        ({"rows": "10001"}, "INVALID_ROWS"),
        ({"rows": "-1"}, "INVALID_ROWS"),
        ({"rows": "x"}, "INVALID_ROWS"),
        ({"rows": ""}, "INVALID_ROWS"),
        ({"rows": "٣"}, "INVALID_ROWS"),
        ({"showAll": "yes"}, "INVALID_SHOW_ALL"),
        ({"order": "up"}, "INVALID_ORDER"),
        ({"page": "AAAA"}, "INVALID_PAGE_TOKEN"),
        ({"page": ""}, "INVALID_PAGE_TOKEN"),
        ({"page": "a", "pageToken": "b"}, "INVALID_PAGE_TOKEN"),
    ],
    ids=str,
)
async def test_what_cannot_be_read_is_refused(desk: Desk, query: dict[str, str], code: str) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    response = await desk.get(HERE + "/events", **query)
    assert (response.status, (await response.json(content_type=None))["code"]) == (400, code)


async def test_a_page_token_is_good_for_one_job_one_filter_and_one_direction(desk: Desk) -> None:
    other = a_key(str(uuid4()))
    for header in (a_header(3), a_header(3, key=other)):
        await desk.record(opened(header), judged(a_run("FFF"), header))
    token = (await desk.read(rows=1))["pagination"]["nextPageToken"]
    assert len((await desk.read(rows=10, page=token))["result"]) == 2
    there = f"/common-status/v1/12345/job/{other.job_id}/events"
    for path, query in ((there, {}), (HERE + "/events", {"showAll": "1"}), (HERE + "/events", {"order": "desc"})):
        response = await desk.get(path, page=token, **query)
        assert response.status == 400


async def test_jobs_are_listed_and_paged(desk: Desk) -> None:
    for number in range(5):
        key = a_key(str(uuid4()))
        header = Header(key, 1, CREATED_US + number * 1_000_000, "offline", "orders")
        await desk.record(opened(header), *([judged(a_run("S"), header)] if number % 2 else []))
    jobs = "/common-status/v1/12345/jobs"
    whole = [job["jobCreated"] for job in (await desk.read(jobs))["result"]]
    assert whole == sorted(whole, reverse=True)
    assert len(whole) == 5
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 2}
    while True:
        body = await desk.read(jobs, **query)
        seen += [job["jobCreated"] for job in body["result"]]
        if body["pagination"]["nextPageToken"] is None:
            break
        query["page"] = body["pagination"]["nextPageToken"]
    assert seen == whole
    assert len((await desk.read(jobs, state="completed"))["result"]) == 2
    assert len((await desk.read(jobs, **{"from": "2023-06-02T17:03:28Z"}))["result"]) == 3
    assert len((await desk.read(jobs, to="2023-06-02T17:03:28Z", type="orders", mode="offline"))["result"]) == 2
    assert (await desk.get(jobs, state="DONE")).status == 400
    assert (await desk.get(jobs, **{"from": "yesterday"})).status == 400
    assert len((await desk.read(jobs + "?from=2023-06-02T19:03:28+02:00"))["result"]) == 3, "a plus not encoded"


@pytest.mark.parametrize(
    ("made", "other"),
    [
        ({}, {"state": "completed"}),
        ({}, {"type": "orders"}),
        ({}, {"mode": "offline"}),
        ({}, {"from": "2020-01-01T00:00:00Z"}),
        ({"to": "2030-01-01T00:00:00Z"}, {"to": "2030-01-01T00:00:01Z"}),
        ({"outcome": "failed"}, {"outcome": "succeeded"}),
        ({"outcome": "failed"}, {"showAll": "0"}),
    ],
    ids=str,
)
async def test_a_page_token_is_good_for_one_filter(desk: Desk, made: dict[str, str], other: dict[str, str]) -> None:
    """And for one list: a place in another one says nothing."""
    await desk.record(opened(), judged(a_run("FF")))
    await desk.record(opened(a_header(1, key=a_key(str(uuid4())))))
    paths = [HERE + "/records" if "outcome" in query else "/common-status/v1/12345/jobs" for query in (made, other)]
    if "showAll" in other:
        paths[1] = HERE + "/events"
    token = (await desk.read(paths[0], rows=1, **made))["pagination"]["nextPageToken"]
    assert (await desk.get(paths[0], rows=2, page=token, **made)).status == 200
    refused = await desk.get(paths[1], rows=1, page=token, **other)
    assert (refused.status, (await refused.json(content_type=None))["code"]) == (400, "INVALID_PAGE_TOKEN")
