"""The status API as a caller sees it: who may ask, how often, and what is not sent again."""

from uuid import uuid4

from multidict import CIMultiDict

from services.status.domain.facts import Key
from tests.status.api_side import HERE, Desk, desk
from tests.status.events import JOB, a_header, a_run, judged, opened

__all__ = ["desk"]


async def test_who_may_ask(desk: Desk) -> None:
    await desk.record(opened(), judged(a_run("SF")))
    assert (await desk.get(HERE, who="bad")).status == 401
    assert (await desk.get(HERE, who="narrow")).status == 403
    assert (await desk.get(HERE.replace("12345", "67890"))).status == 403
    assert (await desk.get(HERE.replace("12345", "99999"))).status == 403
    assert (await desk.get(HERE.replace("12345", "67890"), who="moved")).status == 403
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


async def test_a_jobs_id_may_be_written_in_capitals(desk: Desk) -> None:
    await desk.record(opened())
    capitals = HERE.replace(JOB.job_id, JOB.job_id.upper())
    assert await desk.read(capitals + "/events") == await desk.read()


async def test_copies_are_the_callers_own_and_asked_about_each_time(desk: Desk) -> None:
    await desk.record(opened())
    fresh = await desk.get(HERE)
    tag = fresh.headers["ETag"]
    known = [await desk.get(HERE, headers={"If-None-Match": told}) for told in (tag, f"W/{tag}", "*")]
    assert [answer.status for answer in known] == [304, 304, 304]
    assert {answer.headers["Cache-Control"] for answer in (fresh, *known)} == {"private, no-cache"}
    assert {answer.headers["ETag"] for answer in known} == {tag}


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


async def test_a_client_that_asks_too_often_is_slowed_down(desk: Desk) -> None:
    await desk.record(opened())
    answers = [await desk.get(HERE) for _ in range(51)]
    assert answers[-1].status == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
