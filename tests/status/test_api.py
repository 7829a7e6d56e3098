"""The status API as a caller sees it: who may ask, how often, and what is not sent again."""

from uuid import uuid4

from multidict import CIMultiDict

from services.jobs.events import JobKey
from tests.jobs.events import JOB, a_header, a_run, judged, opened
from tests.status.api_fixtures import JOB_PATH, ApiClient, api

__all__ = ["api"]


async def test_who_may_ask(api: ApiClient) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    assert (await api.get(JOB_PATH, who="bad")).status == 401
    assert (await api.get(JOB_PATH, who="narrow")).status == 403
    assert (await api.get(JOB_PATH.replace("12345", "67890"))).status == 403
    assert (await api.get(JOB_PATH.replace("12345", "99999"))).status == 403
    assert (await api.get(JOB_PATH.replace("12345", "67890"), who="moved")).status == 403
    assert (await api.client.get(JOB_PATH)).status == 401


async def test_unknown_foreign_and_malformed_jobs_are_told_apart_by_nobody(api: ApiClient) -> None:
    foreign = a_header(key=JobKey(609, str(uuid4())))
    await api.apply(opened(foreign))
    bodies = []
    for job_id in (str(uuid4()), foreign.key.job_id, "nonsense", "a%20b"):
        response = await api.client.get(
            f"/common-status/v1/12345/job/{job_id}/events",
            headers={"Authorization": "Bearer good", "X-Request-Id": "same"},
        )
        assert response.status == 404
        assert "Retry-After" not in response.headers
        bodies.append(await response.text())
    assert len(set(bodies)) == 1


async def test_a_jobs_id_may_be_written_in_capitals(api: ApiClient) -> None:
    await api.apply(opened())
    capitals = JOB_PATH.replace(JOB.job_id, JOB.job_id.upper())
    assert await api.read(capitals + "/events") == await api.read()


async def test_copies_are_the_callers_own_and_asked_about_each_time(api: ApiClient) -> None:
    await api.apply(opened())
    fresh = await api.get(JOB_PATH)
    tag = fresh.headers["ETag"]
    known = [await api.get(JOB_PATH, headers={"If-None-Match": value}) for value in (tag, f"W/{tag}", "*")]
    assert [answer.status for answer in known] == [304, 304, 304]
    assert {answer.headers["Cache-Control"] for answer in (fresh, *known)} == {"private, no-cache"}
    assert {answer.headers["ETag"] for answer in known} == {tag}


async def test_an_unchanged_job_is_not_sent_again(api: ApiClient) -> None:
    await api.apply(opened())
    tag = (await api.get(JOB_PATH + "/events")).headers["ETag"]
    assert (await api.get(JOB_PATH + "/events", headers={"If-None-Match": f'"x", {tag}'})).status == 304
    several = CIMultiDict([("Authorization", "Bearer good"), ("If-None-Match", '"x"'), ("If-None-Match", tag)])
    assert (await api.client.get(JOB_PATH + "/events", headers=several)).status == 304
    await api.apply(judged(a_run("SF")))
    changed = await api.get(JOB_PATH + "/events", headers={"If-None-Match": tag})
    assert changed.status == 200
    await api.apply(opened(), judged(a_run("SF"), after_ms=99), judged(a_run("FS"), after_ms=99))
    again = await api.get(JOB_PATH + "/events", headers={"If-None-Match": changed.headers["ETag"]})
    assert again.status == 304


async def test_a_client_that_asks_too_often_is_slowed_down(api: ApiClient) -> None:
    await api.apply(opened())
    answers = [await api.get(JOB_PATH) for _ in range(51)]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
