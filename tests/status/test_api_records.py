"""A job's records by their outcome, also those that came late or never."""

import json
from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from multidict import CIMultiDict

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import JobEvent, JobKey, OutcomeRun
from services.status.domain.job import JobChange
from services.status.domain.page import MAX_PAGE_BYTES
from tests.jobs.events import a_failure, a_header, a_run, expired, judged, no_product, opened
from tests.status.api_fixtures import JOB_PATH, ApiClient, api

__all__ = ["api"]


async def test_records_by_outcome(api: ApiClient) -> None:
    await api.apply(opened(), judged(a_run("SF")))
    (good,) = (await api.read(JOB_PATH + "/records", outcome="succeeded"))["result"]
    (bad,) = (await api.read(JOB_PATH + "/records", outcome="failed"))["result"]
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
    assert (await api.get(JOB_PATH + "/records")).status == 400


async def test_records_as_lines(api: ApiClient) -> None:
    await api.apply(opened(a_header(5)), judged(a_run("SFSSF"), a_header(5)))
    response = await api.get(
        JOB_PATH + "/records", outcome="succeeded", rows=2, headers={"Accept": "application/x-ndjson"}
    )
    lines = (await response.text()).splitlines()
    assert response.content_type == "application/x-ndjson"
    assert [json.loads(line)["index"] for line in lines] == [0, 2]
    rest = await api.client.get(response.headers["Link"].split(">")[0][1:], headers={"Authorization": "Bearer good"})
    assert [record["index"] for record in (await rest.json())["result"]] == [3]
    assert (await rest.json())["pagination"] == {"rows": 2, "count": 1, "nextPageToken": None}


@pytest.mark.parametrize("total", [3, 700])
async def test_an_expired_job_says_what_was_not_processed_and_what_came_late(api: ApiClient, total: int) -> None:
    header = a_header(total)
    await api.apply(opened(header), judged(a_run("S"), header), expired(header))
    body = await api.read(rows=10_000)
    assert body["summary"]["job"]["state"] == "EXPIRED"
    assert body["summary"]["ERROR"] == total - 1 == len(body["result"])
    assert body["summary"]["job"]["name"] == f"Total records = {total}. Success = 1. Failed = 0"
    assert body["summary"]["job-status"] == "PROCESSING_WITH_WARNING"
    tag = (await api.get(JOB_PATH + "/events")).headers["ETag"]
    await api.apply(judged(a_run("F", 1), header, after_ms=1_000_000))
    assert (await api.get(JOB_PATH + "/events")).headers["ETag"] == tag
    found = (await api.read(JOB_PATH + "/records", outcome="unprocessed"))["result"]
    assert [record.get("lateOutcome") for record in found[:2]] == ["failed", None]
    assert (found[0]["id"], found[1]["id"]) == ("o1", None)
    assert found[1]["faults"] == [
        {
            "code": "EXPIRED",
            "field": "",
            "message": "The record was not processed before its job's deadline",
            "retryable": True,
        }
    ]


async def test_a_return_is_named_by_its_order_and_its_own_id(api: ApiClient) -> None:
    header = a_header(1, type_="returns")
    await api.apply(judged(OutcomeRun(0, "S", '[["o1", "r1", "u1"]]'), header))
    (found,) = (await api.read(JOB_PATH + "/records", outcome="succeeded"))["result"]
    assert found == {
        "index": 0, "orderId": "o1", "returnId": "r1", "userId": "u1", "outcome": "succeeded", "faults": [],
    }  # fmt: skip


async def test_copies_of_records_are_told_apart_by_form_and_by_what_came_late(api: ApiClient) -> None:
    """A late outcome changes no event, but the record that it belongs to."""
    await api.apply(judged(a_run("S")), expired())
    path, lines = JOB_PATH + "/records?outcome=unprocessed", {"Accept": "application/x-ndjson"}
    tag, other = [(await api.get(path, headers=form)).headers["ETag"] for form in ({}, lines)]
    answers = [
        await api.get(path, headers={**form, "If-None-Match": known})
        for form, known in (({}, tag), (lines, other), ({}, other), (lines, tag))
    ]
    assert [answer.status for answer in answers] == [304, 304, 200, 200]
    assert {answer.headers["Vary"] for answer in answers} == {"Accept"}
    await api.apply(judged(a_run("F", 1)))
    assert (await api.get(path, headers={"If-None-Match": tag})).status == 200


@pytest.mark.parametrize("sent", [["Application/X-NDJSON"], ["text/html", "application/x-ndjson"]], ids=str)
async def test_lines_are_asked_for_in_any_of_the_header_fields_and_in_any_case(api: ApiClient, sent: list[str]) -> None:
    await api.apply(judged(a_run("SS")))
    headers = CIMultiDict([("Authorization", "Bearer good"), *(("Accept", one) for one in sent)])
    response = await api.client.get(JOB_PATH + "/records?outcome=succeeded", headers=headers)
    assert response.content_type == "application/x-ndjson"


async def test_lines_are_not_sent_to_a_client_that_prefers_one_document(api: ApiClient) -> None:
    await api.apply(judged(a_run("SS")))
    headers = {"Accept": "application/x-ndjson;q=0.1, application/json"}
    response = await api.get(JOB_PATH + "/records?outcome=succeeded", headers=headers)
    assert response.content_type == "application/json"
    assert len((await response.json())["result"]) == 2


async def test_histories_with_equally_many_writes_have_different_etags(api: ApiClient) -> None:
    """A job that retention deleted, or a restored database, begins again with the first version."""
    paths = ["", "/events", "/records?outcome=failed"]
    tags = []
    for after_ms in (0, 1):
        api.jobs.job_documents.clear()
        await api.apply(judged(a_run("SF"), after_ms=after_ms))
        tags.append([(await api.get(JOB_PATH + path)).headers["ETag"] for path in paths])
    assert all(first != second for first, second in zip(*tags, strict=True))


UNPUBLISHED = {
    "running": ([judged(a_run("S" * 100), a_header(700))], judged(a_run("SF" * 100, 100), a_header(700))),
    "expired": (
        [judged(a_run("S" * 100), a_header(700)), expired(a_header(700))],
        judged(a_run("FS" * 100, 100), a_header(700)),
    ),
}


@pytest.mark.parametrize("stage", UNPUBLISHED)
async def test_pages_and_their_etags_show_only_what_the_job_has_published(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """A chunk is written before the job: in between, neither the bodies nor the ETags change."""
    paths = ["/events?showAll=true", *(f"/records?outcome={name}" for name in ("succeeded", "failed", "unprocessed"))]

    async def pages() -> list[tuple[str, str]]:
        answers = [await api.get(JOB_PATH + path) for path in paths]
        return [(answer.headers["ETag"], await answer.text()) for answer in answers]

    async def fail(changes: Sequence[JobChange]) -> frozenset[JobKey]:
        raise UnavailableError(f"memory, for {len(changes)} changes")

    published, added = UNPUBLISHED[stage]
    await api.apply(opened(a_header(700)), *published)
    shown, versions = await pages(), api.jobs.writes
    with monkeypatch.context() as patched:
        patched.setattr(api.jobs, "write", fail)
        with pytest.raises(UnavailableError):
            await api.apply(added)
    assert api.jobs.writes > versions
    assert await pages() == shown
    await api.apply(added)
    for (old_etag, old_text), (etag, text) in zip(shown, await pages(), strict=True):
        assert (etag != old_etag) or text == old_text
    assert [text for _, text in await pages()] != [text for _, text in shown]


def large_records(total: int, size: int) -> JobEvent:
    """Every record fails and has that many bytes."""
    failures = [
        replace(a_failure(index, no_product()), record=json.dumps({"id": f"o{index}", "note": "x" * size}))
        for index in range(total)
    ]
    return judged(OutcomeRun(0, "F" * total, "", failures), a_header(total))


@pytest.mark.parametrize(("total", "size"), [(1_200, 14_000), (100, 200_000), (2, 7_000_000)])
async def test_pages_are_bounded_in_bytes(api: ApiClient, total: int, size: int) -> None:
    """I8. A page may be shorter than requested; its token continues, and every record comes once."""
    await api.apply(large_records(total, size))
    path, indexes = f"{JOB_PATH}/records?outcome=failed", []
    while path:
        response = await api.client.get(path, headers={"Authorization": "Bearer good"})
        text = await response.text()
        assert len(text) <= MAX_PAGE_BYTES * 1.1 or len(json.loads(text)["result"]) == 1
        body = json.loads(text)
        assert body["pagination"]["count"] == len(body["result"]) > 0
        indexes += [record["index"] for record in body["result"]]
        path = response.headers["Link"].split(">")[0][1:] if body["pagination"]["nextPageToken"] else ""
    assert indexes == list(range(total))


async def test_lines_of_a_running_job_say_where_to_go_on(api: ApiClient) -> None:
    """Nothing is shown beyond a record that is undecided: who goes on from there would miss it."""
    header = a_header(3)
    await api.apply(judged(a_run("F"), header), judged(a_run("F", 2), header))
    response = await api.get(JOB_PATH + "/records?outcome=failed", headers={"Accept": "application/x-ndjson"})
    assert len((await response.text()).splitlines()) == 1
    await api.apply(judged(a_run("F", 1), header))
    rest = await api.client.get(response.headers["Link"].split(">")[0][1:], headers={"Authorization": "Bearer good"})
    assert [record["index"] for record in (await rest.json())["result"]] == [1, 2]
