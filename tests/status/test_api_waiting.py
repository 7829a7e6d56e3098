"""Waiting: for a job that was issued just now, and for a job's end."""

import asyncio
import json
import time
from typing import Any

import pytest
from multidict import CIMultiDict

from services.chassis.runtime.metrics import REGISTRY
from services.status.flows import queries
from services.status.http import params
from services.values.time_uuids import time_uuid
from tests.chassis.eventually import until
from tests.jobs.events import a_header, a_run, judged, opened
from tests.status.api_fixtures import JOB_PATH, ApiClient, a_key, api

__all__ = ["api"]


@pytest.mark.parametrize("age_us", [1_000, -1_000], ids=["", "by a clock that is ahead"])
async def test_a_job_that_was_issued_just_now_is_waited_for(api: ApiClient, age_us: int) -> None:
    key = a_key(time_uuid(api.now_us[0] - age_us, clock_seq=1, node=2))
    asked = asyncio.create_task(api.read(f"/common-status/v1/12345/job/{key.job_id}/events"))
    await until(lambda: api.notifier.has_waiters)
    await api.apply(opened(a_header(key=key)))
    async with asyncio.timeout(1):
        assert (await asked)["summary"]["job"]["state"] == "RECEIVED"


async def test_a_young_job_that_does_not_come_is_not_found_for_now(api: ApiClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(queries, "NEW_JOB_TIMEOUT_S", 0.05)
    job_id = time_uuid(api.now_us[0] - 1_000, clock_seq=1, node=2)
    response = await api.get(f"/common-status/v1/12345/job/{job_id}/events")
    assert (response.status, response.headers["Retry-After"]) == (404, "1")


async def test_a_caller_may_wait_for_the_end(api: ApiClient) -> None:
    await api.apply(opened())
    asked = asyncio.create_task(api.get(JOB_PATH + "/events", headers={"Prefer": "wait=20"}))
    await asyncio.sleep(0.01)
    await api.apply(judged(a_run("S")))
    await asyncio.sleep(0.01)
    assert not asked.done()
    await api.apply(judged(a_run("F", 1)))
    async with asyncio.timeout(5):
        response = await asked
    assert response.headers["Preference-Applied"] == "wait"
    assert json.loads(await response.text())["summary"]["job"]["terminal"] is True


async def test_a_wait_ends_with_its_time(api: ApiClient) -> None:
    await api.apply(opened())
    began = time.monotonic()
    body = await api.read(headers={"Prefer": "respond-async, wait=1"})
    assert 0.9 < time.monotonic() - began < 3
    assert body["summary"]["job"]["state"] == "RECEIVED"


async def test_a_preference_may_stand_in_any_of_its_header_fields(api: ApiClient) -> None:
    await api.apply(opened())
    headers = CIMultiDict([("Authorization", "Bearer good"), ("Prefer", "respond-async"), ("Prefer", "wait=0")])
    for path in (JOB_PATH, JOB_PATH + "/events"):
        response = await api.client.get(path, headers=headers)
        assert response.headers["Preference-Applied"] == "wait"
        known = await api.client.get(path, headers={**headers, "Prefer": "wait=0", "If-None-Match": "*"})
        assert (known.status, known.headers["Preference-Applied"]) == (304, "wait")


@pytest.mark.parametrize(
    ("preference", "wait_s"),
    [
        ("wait=5", 5),
        ('respond-async, WAIT = "7"', 7),
        ("respond-async; wait=7", 7),
        ("wait=31", 30),
        ("wait=999999999", 30),
        ("wait=9999999999", None),
        ("wait=5, wait=6", 5),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait", None),
        ("await=5", None),
        ("", None),
    ],
)
def test_a_wait_is_read_with_patience_and_has_a_bound(preference: str, wait_s: float | None) -> None:
    assert params.parse_wait(CIMultiDict(Prefer=preference)) == wait_s


async def test_who_waits_is_answered_when_the_process_stops(api: ApiClient) -> None:
    """A wait is longer than a process may take to stop: its client would see the connection break."""
    key = a_key(time_uuid(api.now_us[0] - 1_000, clock_seq=1, node=2))
    await api.apply(opened())
    waiting = asyncio.create_task(api.get(JOB_PATH, headers={"Prefer": "wait=20"}))
    hoping = asyncio.create_task(api.get(f"/common-status/v1/12345/job/{key.job_id}"))
    async with asyncio.timeout(15):
        await until(lambda: REGISTRY.get_sample_value("status_waiters") == 2)
        await api.notifier.stop()
        assert [(await one).status for one in (waiting, hoping)] == [200, 404]
        assert (await api.get(JOB_PATH, headers={"Prefer": "wait=20"})).status == 200, "nobody begins to wait any more"


async def test_waits_are_bounded_in_number(api: ApiClient) -> None:
    await api.apply(opened())
    waiting = [asyncio.create_task(api.get(JOB_PATH, headers={"Prefer": "wait=20"})) for _ in range(2)]
    await asyncio.sleep(0.05)
    assert (await api.get(JOB_PATH, headers={"Prefer": "wait=20"})).status == 200
    assert not any(task.done() for task in waiting)
    await api.apply(judged(a_run("SS")))
    assert [(await task).status for task in waiting] == [200, 200]
