"""The status API as a caller sees it."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict

from services.chassis.errors import Unauthorized
from services.chassis.ratelimit import RateLimit
from services.chassis.settings import REPOSITORY
from services.chassis.sites import ApiKey, Site
from services.chassis.tokens import Token
from services.chassis.web import application
from services.status import flow, reading
from services.status.api import StatusApi
from services.status.bell import HandBell
from services.status.domain.facts import Header, JobEvent, Judged, Key
from services.status.pages import PageTokens
from services.values.time_uuids import time_uuid
from tests.status.events import CREATED_US, JOB, a_failure, a_header, a_run, expired, judged, no_product, opened
from tests.status.memory import MemoryJobs, MemoryOrigins

HERE = f"/common-status/v1/12345/job/{JOB.job_id}"


class Passport:
    """Knows two callers by their tokens."""

    def remembered(self, token: str) -> Token | None:
        known = {"good": (608, "12345", "status:read"), "narrow": (608, "12345", "other")}.get(token)
        if known is None:
            return None
        return Token(
            client_id=token,
            site=known[0],
            api_keys=frozenset({known[1]}),
            scopes=frozenset({known[2]}),
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise Unauthorized(f"{len(token)} characters of nothing")


class Register:
    def by_api_key(self, api_key: str) -> Site | None:
        numbers = {"12345": 608, "67890": 609}
        if api_key not in numbers:
            return None
        return Site(
            site=numbers[api_key],
            name="Demo",
            app_id=1078,
            root_source="omnichannel-api/qa",
            datacenter="qa",
            api_keys=(ApiKey(api_key=api_key),),
        )


@dataclass
class Desk:
    """A caller of the API, and the hand that records events behind it."""

    client: TestClient[Any, Any]
    jobs: MemoryJobs
    writing: flow.World
    now_us: list[int] = field(default_factory=lambda: [CREATED_US + 3_600_000_000])

    async def record(self, *events: JobEvent) -> None:
        await flow.record(events, self.writing)

    async def get(self, path: str, *, headers: Any = None, who: str = "good", **query: Any) -> ClientResponse:
        return await self.client.get(
            path,
            params={name: str(value) for name, value in query.items()},
            headers={"Authorization": f"Bearer {who}", **(headers or {})},
        )

    async def read(self, path: str = HERE + "/events", *, headers: Any = None, **query: Any) -> Any:
        response = await self.get(path, headers=headers, **query)
        assert response.status == 200, await response.text()
        return json.loads(await response.text())


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    jobs, bell = MemoryJobs(), HandBell(most=2)
    writing = flow.World(jobs=jobs, origins=MemoryOrigins(), bell=bell, now_us=lambda: 0)
    now_us = [CREATED_US + 3_600_000_000]
    api = StatusApi(
        world=reading.World(jobs=jobs, waiting=bell, now_us=lambda: now_us[0], clock_s=time.monotonic),
        verifier=Passport(),  # type: ignore[arg-type]
        sites=Register(),  # type: ignore[arg-type]
        tokens=PageTokens("a secret of sixteen"),
        gate=RateLimit(),
        requests_per_second=50,
        openapi=REPOSITORY / "schemas/openapi/common-status.yaml",
    )
    async with TestClient(TestServer(application(api.routes()))) as client:
        yield Desk(client, jobs, writing, now_us)


EXAMPLES = json.loads((Path(__file__).parent / "printed.json").read_text(encoding="utf-8"))
FREE = {"taskId", "statusId", "timestamp", "jobCreated", "lastModified", "duration"}


def as_printed(printed: Any, actual: Any, name: str = "") -> None:
    """Every printed key in its order with its value, unless ids and times; more may follow."""
    if isinstance(printed, dict):
        assert [key for key in actual if key in printed] == list(printed), name
        for key in printed.keys() - FREE:
            as_printed(printed[key], actual[key], f"{name}.{key}")
    elif isinstance(printed, list):
        assert len(printed) == len(actual), name
        for one, other in zip(printed, actual, strict=True):
            as_printed(one, other, name)
    else:
        assert (printed, type(printed)) == (actual, type(actual)), name


def a_key(job_id: str) -> Key:
    return Key(608, job_id)


async def record_printed(desk: Desk, name: str) -> Any:
    """The events that lead to a printed sample; returns the sample."""
    printed = EXAMPLES[name]
    job = printed["summary"]["job"]
    total, key = job["baggage"]["records"]["total"], a_key(job["jobId"])
    header = a_header(total, key=key, mode=job["attributes"]["mode"])
    letters = "S" * job["baggage"]["records"]["success"] + "F" * job["baggage"]["records"]["failed"]
    failures = [
        a_failure(
            index,
            no_product(event["message"].rsplit(" ", 1)[1]),
            order_id=event["attributes"]["orderId"],
            mode=event["attributes"]["mode"],
        )
        for index, event in zip(
            (at for at, letter in enumerate(letters) if letter == "F"), printed["result"], strict=True
        )
    ]
    await desk.record(opened(header), judged(a_run(letters, failures=failures), header))
    return printed


@pytest.mark.parametrize("name", ["PROCESSING", "PROCESSING_WITH_WARNING", "FAILED"])
async def test_the_printed_samples_key_for_key_in_their_order(desk: Desk, name: str) -> None:
    printed = await record_printed(desk, name)
    path = f"/common-status/v1/12345/job/{printed['summary']['job-id']}"
    actual = await desk.read(path + "/events")
    as_printed(printed, actual)
    assert list(actual) == ["summary", "result"]
    assert list(actual["summary"]["job"])[-3:] == ["state", "terminal", "completedAt"]
    assert actual["summary"]["job"]["terminal"] is True
    alone = await desk.read(path)
    assert alone == {"summary": actual["summary"]}


async def test_times_have_the_printed_digits(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    body = await desk.read()
    job = body["summary"]["job"]
    assert job["jobCreated"] == "2023-06-02T17:03:26.298010000Z"
    assert job["lastModified"] == "2023-06-02T17:03:26.313Z"
    assert job["completedAt"] == job["lastModified"]
    assert job["duration"] == "00:00:00"
    assert body["result"][0]["timestamp"] == "2023-06-02T17:03:26.313010000Z"


async def test_the_printed_times_add_up(desk: Desk) -> None:
    """The duration is the difference of what is printed, also where a digit that is not printed would tip it over."""
    await desk.record(opened(), judged(a_run("S")), JobEvent(a_header(), CREATED_US + 2_000_989, Judged(a_run("F", 1))))
    job = (await desk.read())["summary"]["job"]
    assert (job["jobCreated"], job["lastModified"]) == ("2023-06-02T17:03:26.298010000Z", "2023-06-02T17:03:28.298Z")
    assert job["duration"] == "00:00:01"


async def test_show_all_adds_details_and_a_summary(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    body = await desk.read(showAll="True")
    assert list(body) == ["pagination", "summary", "result"]
    assert body["pagination"] == {"rows": 5000, "count": 3, "nextPageToken": None}
    assert [event["level"] for event in body["result"]] == ["DETAIL", "WARNING", "SUMMARY"]
    assert body["summary"]["query-param"] == "showAll=true&rows=5000"
    keys = list(body["summary"])
    assert keys[keys.index("query-param") + 1 : keys.index("job")] == ["WARNING", "SUMMARY", "DETAIL"]
    assert body["summary"]["total-events"] == 3
    assert body["result"][0]["attributes"] == {"mode": "offline", "type": "orders", "orderId": "o0", "index": 0}
    assert {tuple(event) for event in body["result"]} == {tuple(body["result"][0])}


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


async def test_who_may_ask(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    assert (await desk.get(HERE, who="bad")).status == 401
    assert (await desk.get(HERE, who="narrow")).status == 403
    assert (await desk.get(HERE.replace("12345", "67890"))).status == 403
    assert (await desk.get(HERE.replace("12345", "99999"))).status == 403
    assert (await desk.client.get(HERE)).status == 401


async def test_unknown_foreign_and_malformed_jobs_are_told_apart_by_nobody(desk: Desk) -> None:
    foreign = a_header(key=Key(609, str(uuid4())))
    await desk.record(opened(foreign))
    bodies = []
    for job_id in (str(uuid4()), foreign.key.job_id, "nonsense", "a%20b"):
        response = await desk.client.get(
            f"/common-status/v1/12345/job/{job_id}/events",
            headers={"Authorization": "Bearer good", "X-Request-Id": "same"},
        )
        assert response.status == 404
        assert "Retry-After" not in response.headers
        bodies.append(await response.text())
    assert len(set(bodies)) == 1


async def test_a_job_that_was_issued_just_now_is_waited_for(desk: Desk) -> None:
    key = a_key(time_uuid(desk.now_us[0] - 1_000, clock_seq=1, node=2))
    asked = asyncio.create_task(desk.read(f"/common-status/v1/12345/job/{key.job_id}/events"))
    await asyncio.sleep(0)
    await desk.record(opened(a_header(key=key)))
    assert (await asked)["summary"]["job"]["state"] == "RECEIVED"


async def test_a_young_job_that_does_not_come_is_not_found_for_now(desk: Desk, monkeypatch: Any) -> None:
    monkeypatch.setattr(reading, "PATIENCE_S", 0.05)
    job_id = time_uuid(desk.now_us[0] - 1_000, clock_seq=1, node=2)
    response = await desk.get(f"/common-status/v1/12345/job/{job_id}/events")
    assert (response.status, response.headers["Retry-After"]) == (404, "1")


async def test_a_caller_may_wait_for_the_end(desk: Desk) -> None:
    await desk.record(opened())
    asked = asyncio.create_task(desk.get(HERE + "/events", headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.01)
    await desk.record(judged(a_run("S")))
    await asyncio.sleep(0.01)
    assert not asked.done()
    await desk.record(judged(a_run("F", 1)))
    response = await asked
    assert response.headers["Preference-Applied"] == "wait"
    assert json.loads(await response.text())["summary"]["job"]["terminal"] is True


async def test_a_wait_ends_with_its_time(desk: Desk) -> None:
    await desk.record(opened())
    began = time.monotonic()
    body = await desk.read(headers={"Prefer": "respond-async, wait=1"})
    assert 0.9 < time.monotonic() - began < 3
    assert body["summary"]["job"]["state"] == "RECEIVED"


async def test_a_preference_may_stand_in_any_of_its_header_fields(desk: Desk) -> None:
    await desk.record(opened())
    headers = CIMultiDict([("Authorization", "Bearer good"), ("Prefer", "respond-async"), ("Prefer", "wait=0")])
    response = await desk.client.get(HERE, headers=headers)
    assert response.headers["Preference-Applied"] == "wait"


async def test_waits_are_bounded_in_number(desk: Desk) -> None:
    await desk.record(opened())
    waiting = [asyncio.create_task(desk.get(HERE, headers={"Prefer": "wait=20"})) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert (await desk.get(HERE, headers={"Prefer": "wait=20"})).status == 200
    assert not any(task.done() for task in waiting)
    await desk.record(judged(a_run("SS")))
    assert [(await task).status for task in waiting] == [200, 200]


async def test_an_unchanged_job_is_not_sent_again(desk: Desk) -> None:
    await desk.record(opened())
    tag = (await desk.get(HERE + "/events")).headers["ETag"]
    assert (await desk.get(HERE + "/events", headers={"If-None-Match": f'"x", {tag}'})).status == 304
    several = CIMultiDict([("Authorization", "Bearer good"), ("If-None-Match", '"x"'), ("If-None-Match", tag)])
    assert (await desk.client.get(HERE + "/events", headers=several)).status == 304
    await desk.record(judged(a_run("SF")))
    changed = await desk.get(HERE + "/events", headers={"If-None-Match": tag})
    assert changed.status == 200
    await desk.record(opened(), judged(a_run("SF"), after_ms=99), judged(a_run("FS"), after_ms=99))
    again = await desk.get(HERE + "/events", headers={"If-None-Match": changed.headers["ETag"]})
    assert again.status == 304


async def test_records_by_outcome(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    (good,) = (await desk.read(HERE + "/records", outcome="succeeded"))["result"]
    (bad,) = (await desk.read(HERE + "/records", outcome="failed"))["result"]
    assert good == {"index": 0, "id": "o0", "userId": "u0", "outcome": "succeeded", "faults": []}
    assert bad["record"] == {"id": "o1"}
    assert bad["faults"] == [
        {
            "code": "PRODUCT_NOT_FOUND",
            "field": "/lineItems/0/productId",
            "message": "No product is found for product ID product3",
            "retryable": False,
        }
    ]
    assert (await desk.get(HERE + "/records")).status == 400


async def test_records_as_lines(desk: Desk) -> None:
    await desk.record(opened(a_header(5)), judged(a_run("SFSSF"), a_header(5)))
    response = await desk.get(
        HERE + "/records", outcome="succeeded", rows=2, headers={"Accept": "application/x-ndjson"}
    )
    lines = (await response.text()).splitlines()
    assert response.content_type == "application/x-ndjson"
    assert [json.loads(line)["index"] for line in lines] == [0, 2]
    rest = await desk.client.get(response.headers["Link"].split(">")[0][1:], headers={"Authorization": "Bearer good"})
    assert [record["index"] for record in (await rest.json())["result"]] == [3]
    assert (await rest.json())["pagination"] == {"rows": 2, "count": 1, "nextPageToken": None}


@pytest.mark.parametrize("total", [3, 700])
async def test_an_expired_job_says_what_was_not_processed_and_what_came_late(desk: Desk, total: int) -> None:
    header = a_header(total)
    await desk.record(opened(header), judged(a_run("S"), header), expired(header))
    body = await desk.read(rows=10_000)
    assert body["summary"]["job"]["state"] == "EXPIRED"
    assert body["summary"]["ERROR"] == total - 1 == len(body["result"])
    assert body["summary"]["job"]["name"] == f"Total records = {total}. Success = 1. Failed = 0"
    assert body["summary"]["job-status"] == "PROCESSING_WITH_WARNING"
    tag = (await desk.get(HERE + "/events")).headers["ETag"]
    await desk.record(judged(a_run("F", 1), header))
    assert (await desk.get(HERE + "/events")).headers["ETag"] == tag
    found = (await desk.read(HERE + "/records", outcome="unprocessed"))["result"]
    assert [record.get("lateOutcome") for record in found[:2]] == ["failed", None]
    assert (found[0]["id"], found[1]["id"]) == ("o1", None)


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


async def test_a_client_that_asks_too_often_is_slowed_down(desk: Desk) -> None:
    await desk.record(opened())
    answers = [await desk.get(HERE) for _ in range(51)]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
