"""Pages of events and of jobs: each entry once, tokens, and what cannot be asked for."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.jobs.events import JobHeader, JobKey
from tests.jobs.events import CREATED_US, a_header, a_run, judged, opened
from tests.status.api_fixtures import JOB_PATH, ApiClient, a_key, api

__all__ = ["api"]


async def test_pagination_is_there_only_if_asked_for_or_needed(api: ApiClient) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    assert "pagination" not in await api.read()
    assert "pagination" in await api.read(rows=5)
    assert "pagination" in await api.read(showAll=0)
    header = a_header(5_001, key=a_key(str(uuid4())))
    await api.apply(opened(header), judged(a_run("F" * 5_001), header))
    body = await api.read(f"/common-status/v1/12345/job/{header.key.job_id}/events")
    assert (body["pagination"]["count"], body["summary"]["total-events"]) == (5_000, 5_001)
    assert body["pagination"]["nextPageToken"]


@pytest.mark.parametrize("name", ["page", "pageToken", "nextPageToken"])
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_pages_give_every_event_once(api: ApiClient, name: str, order: str) -> None:
    await api.apply(opened(a_header(25)), judged(a_run("SFF" * 8 + "F"), a_header(25)))
    whole = [event["statusId"] for event in (await api.read())["result"]]
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 5, "order": order}
    while True:
        response = await api.get(JOB_PATH + "/events", **query)
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


async def test_pages_that_end_at_the_border_of_a_chunk_miss_nothing(api: ApiClient) -> None:
    header = a_header(502)
    await api.apply(judged(a_run("F" * 502), header))
    for order, expected in (("desc", [501, 500, 499]), ("asc", [499, 500, 501])):
        query: dict[str, Any] = {"rows": 499 if order == "asc" else 1, "order": order}
        seen = []
        for _ in range(4):
            body = await api.read(**query)
            seen += [event["attributes"]["index"] for event in body["result"]]
            query = {"rows": 1, "order": order, "page": body["pagination"]["nextPageToken"]}
        assert seen[:3] == expected if order == "desc" else seen[499:] == expected


async def test_the_last_page_of_a_running_job_goes_on_where_it_stopped(api: ApiClient) -> None:
    header = a_header(6)
    await api.apply(opened(header), judged(a_run("FF"), header), judged(a_run("F", 4), header))
    first = await api.read(rows=10)
    assert [event["attributes"]["index"] for event in first["result"]] == [0, 1]
    token = first["pagination"]["nextPageToken"]
    again = await api.read(rows=10, page=token)
    assert (again["result"], again["pagination"]["nextPageToken"]) == ([], token)
    await api.apply(judged(a_run("FF", 2), header), judged(a_run("S", 5), header))
    rest = await api.read(rows=10, page=token)
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
async def test_what_cannot_be_read_is_refused(api: ApiClient, query: dict[str, str], code: str) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    response = await api.get(JOB_PATH + "/events", **query)
    assert (response.status, (await response.json(content_type=None))["code"]) == (400, code)


async def test_a_page_token_is_good_for_one_job_one_filter_and_one_direction(api: ApiClient) -> None:
    other = a_key(str(uuid4()))
    for header in (a_header(3), a_header(3, key=other)):
        await api.apply(opened(header), judged(a_run("FFF"), header))
    token = (await api.read(rows=1))["pagination"]["nextPageToken"]
    assert len((await api.read(rows=10, page=token))["result"]) == 2
    there = f"/common-status/v1/12345/job/{other.job_id}/events"
    for path, query in (
        (there, {}),
        (JOB_PATH + "/events", {"showAll": "1"}),
        (JOB_PATH + "/events", {"order": "desc"}),
    ):
        response = await api.get(path, page=token, **query)
        assert response.status == 400


async def test_jobs_are_listed_and_paged(api: ApiClient) -> None:
    for number in range(5):
        key = a_key(str(uuid4()))
        header = JobHeader(key, 1, CREATED_US + number * 1_000_000, "offline", "orders")
        await api.apply(opened(header), *([judged(a_run("S"), header)] if number % 2 else []))
    jobs = "/common-status/v1/12345/jobs"
    whole = [job["jobCreated"] for job in (await api.read(jobs))["result"]]
    assert whole == sorted(whole, reverse=True)
    assert len(whole) == 5
    seen: list[str] = []
    query: dict[str, Any] = {"rows": 2}
    while True:
        body = await api.read(jobs, **query)
        seen += [job["jobCreated"] for job in body["result"]]
        if body["pagination"]["nextPageToken"] is None:
            break
        query["page"] = body["pagination"]["nextPageToken"]
    assert seen == whole
    assert len((await api.read(jobs, state="completed"))["result"]) == 2
    assert len((await api.read(jobs, **{"from": "2023-06-02T17:03:28Z"}))["result"]) == 3
    assert len((await api.read(jobs, to="2023-06-02T17:03:28Z", type="orders", mode="offline"))["result"]) == 2
    assert (await api.get(jobs, state="DONE")).status == 400
    assert (await api.get(jobs, **{"from": "yesterday"})).status == 400
    assert len((await api.read(jobs + "?from=2023-06-02T19:03:28+02:00"))["result"]) == 3, "a plus not encoded"


async def test_days_of_the_list_are_the_sites(api: ApiClient) -> None:
    """The site's zone is Tokyo: its 3 June begins at 15:00 UTC of the 2nd."""
    created = datetime(2023, 6, 2, 14, 59, tzinfo=UTC)
    for minutes in (0, 1, 24 * 60, 24 * 60 + 1):
        moment = created + timedelta(minutes=minutes)
        key, created_us = JobKey(610, str(uuid4())), round(moment.timestamp() * 1_000_000)
        await api.apply(opened(JobHeader(key, 1, created_us, "offline", "orders")))
    jobs = "/common-status/v1/tokyo/jobs"

    async def listed(**query: str) -> list[str]:
        response = await api.get(jobs, who="tokyo", **query)
        assert response.status == 200, await response.text()
        return [job["jobCreated"][8:16] for job in (await response.json())["result"]]

    assert await listed(**{"from": "2023-06-03"}) == ["03T15:00", "03T14:59", "02T15:00"]
    assert await listed(**{"from": "2023-06-03", "to": "2023-06-03"}) == ["03T14:59", "02T15:00"]
    assert await listed(to="2023-06-02") == ["02T14:59"]
    assert await listed(to="2023-06-03T00:00:00") == ["02T14:59"]


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
async def test_a_page_token_is_good_for_one_filter(api: ApiClient, made: dict[str, str], other: dict[str, str]) -> None:
    """And for one list: a place in another one says nothing."""
    await api.apply(opened(), judged(a_run("FF")))
    await api.apply(opened(a_header(1, key=a_key(str(uuid4())))))
    paths = [JOB_PATH + "/records" if "outcome" in query else "/common-status/v1/12345/jobs" for query in (made, other)]
    if "showAll" in other:
        paths[1] = JOB_PATH + "/events"
    token = (await api.read(paths[0], rows=1, **made))["pagination"]["nextPageToken"]
    assert (await api.get(paths[0], rows=2, page=token, **made)).status == 200
    refused = await api.get(paths[1], rows=1, page=token, **other)
    assert (refused.status, (await refused.json(content_type=None))["code"]) == (400, "INVALID_PAGE_TOKEN")
