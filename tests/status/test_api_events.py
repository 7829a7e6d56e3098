"""A job's summary and events: as the printed samples have them, key for key, and with details."""

from typing import Any

import pytest

from services.jobs.events import JobEvent, Judged, OutcomeRun
from tests.jobs.events import CREATED_US, a_failure, a_header, a_run, expired, judged, no_product, opened
from tests.status.api_fixtures import EXAMPLES, ApiClient, a_key, api

__all__ = ["api"]

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


async def record_printed(api: ApiClient, name: str) -> Any:
    """The events that lead to a printed sample; returns the sample."""
    printed = EXAMPLES[name]
    job = printed["summary"]["job"]
    total, key = job["baggage"]["records"]["total"], a_key(job["jobId"])
    header = a_header(total, key=key, mode=job["attributes"]["mode"])
    outcomes = "S" * job["baggage"]["records"]["success"] + "F" * job["baggage"]["records"]["failed"]
    failures = [
        a_failure(
            index,
            no_product(event["message"].rsplit(" ", 1)[1]),
            order_id=event["attributes"]["orderId"],
            mode=event["attributes"]["mode"],
        )
        for index, event in zip(
            (at for at, outcome in enumerate(outcomes) if outcome == "F"), printed["result"], strict=True
        )
    ]
    await api.apply(opened(header), judged(a_run(outcomes, failures=failures), header))
    return printed


@pytest.mark.parametrize("name", ["PROCESSING", "PROCESSING_WITH_WARNING", "FAILED"])
async def test_the_printed_samples_key_for_key_in_their_order(api: ApiClient, name: str) -> None:
    printed = await record_printed(api, name)
    path = f"/common-status/v1/12345/job/{printed['summary']['job-id']}"
    actual = await api.read(path + "/events")
    as_printed(printed, actual)
    assert list(actual) == ["summary", "result"]
    assert list(actual["summary"]["job"])[-3:] == ["state", "terminal", "completedAt"]
    assert actual["summary"]["job"]["terminal"] is True
    alone = await api.read(path)
    assert alone == {"summary": actual["summary"]}
    filtered = await api.read(path + "/events", showAll=1, rows=7)
    assert await api.read(path, showAll=1, rows=7) == {"summary": filtered["summary"]}


async def test_times_have_the_printed_digits(api: ApiClient) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    body = await api.read()
    job = body["summary"]["job"]
    assert job["jobCreated"] == "2023-06-02T17:03:26.298010000Z"
    assert job["lastModified"] == "2023-06-02T17:03:26.313Z"
    assert job["completedAt"] == job["lastModified"]
    assert job["duration"] == "00:00:00"
    assert body["result"][0]["timestamp"] == "2023-06-02T17:03:26.313010000Z"


async def test_the_printed_times_add_up(api: ApiClient) -> None:
    """The duration is the difference of what is printed, also where a digit that is not printed would tip it over."""
    await api.apply(opened(), judged(a_run("S")), JobEvent(a_header(), CREATED_US + 2_000_989, Judged(a_run("F", 1))))
    job = (await api.read())["summary"]["job"]
    assert (job["jobCreated"], job["lastModified"]) == ("2023-06-02T17:03:26.298010000Z", "2023-06-02T17:03:28.298Z")
    assert job["duration"] == "00:00:01"


async def test_show_all_adds_details_and_a_summary(api: ApiClient) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    body = await api.read(showAll="True")
    assert list(body) == ["pagination", "summary", "result"]
    assert body["pagination"] == {"rows": 5000, "count": 3, "nextPageToken": None}
    assert [event["level"] for event in body["result"]] == ["DETAIL", "WARNING", "SUMMARY"]
    assert body["summary"]["query-param"] == "showAll=true&rows=5000"
    keys = list(body["summary"])
    assert keys[keys.index("query-param") + 1 : keys.index("job")] == ["WARNING", "SUMMARY", "DETAIL"]
    assert body["summary"]["total-events"] == 3
    assert body["result"][0]["attributes"] == {"mode": "offline", "type": "orders", "orderId": "o0", "index": 0}
    assert {tuple(event) for event in body["result"]} == {tuple(body["result"][0])}


async def test_a_running_job_says_what_is_known_of_it(api: ApiClient) -> None:
    """Its times are those of what has happened so far, and it is not over."""
    await api.apply(opened(a_header(3)))
    job = (await api.read())["summary"]["job"]
    assert (job["terminal"], job["completedAt"], job["duration"]) == (False, None, "00:00:00")
    assert job["lastModified"] == "2023-06-02T17:03:26.298Z"
    assert job["baggage"]["records"] == {"total": 3, "failed": 0, "success": 0}
    await api.apply(judged(a_run("S"), a_header(3), after_ms=2_000), expired(a_header(3), after_ms=900_500))
    job = (await api.read())["summary"]["job"]
    assert (job["terminal"], job["completedAt"], job["duration"]) == (True, job["lastModified"], "00:15:00")
    assert job["baggage"]["records"] == {"total": 3, "failed": 0, "success": 1, "unprocessed": 2}


async def test_an_event_has_the_mode_of_its_record(api: ApiClient) -> None:
    """Which need not be its job's."""
    run = a_run("F", failures=[a_failure(0, mode="online")])
    await api.apply(judged(run), judged(OutcomeRun(1, "S", '[["o1", "u1", "online"]]')))
    assert [event["attributes"].get("mode") for event in (await api.read(showAll=1))["result"]] == [
        "online",
        "online",
        "offline",
    ]
