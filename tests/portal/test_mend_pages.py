"""Failed records are mended on a page, checked, sent as a new import that names the old one, and never sent twice."""

import json
from typing import Any

import pytest

from services.portal.domain.mending import DraftState
from services.portal.flows import mend_records
from tests.portal.apis import JOB, OTHER, Apis, a_failed_record, a_job
from tests.portal.site import Site

PATH = f"/portal/jobs/{JOB}/mend"
SITE = 608


@pytest.fixture(autouse=True)
def job(apis: Apis) -> None:
    """A job whose records have all failed: more than a page of them."""
    count = mend_records.RECORDS_PER_PAGE + 2
    apis.jobs["12345"] = [a_job(total=count, success=0, failed=count)]
    apis.records[JOB] = [a_failed_record(index) for index in range(count)]


async def send(site: Site, action: str, edits: dict[str, str], *, path: str = PATH, page: str = "") -> str:
    """Send the form of a page, and return the page that comes then."""
    token = await site.form_token(path)
    async with await site.post(path, {"form_token": token, "action": action, "page": page, **edits}) as response:
        assert response.status == 303, await response.text()
        location = response.headers["Location"]
    return await site.text(location)


def product(index: int, value: str = "4556") -> dict[str, str]:
    return {f"r{index}/lineItems/0/productId": value}


async def test_each_field_has_its_fault_beside_it(signed_in: Site) -> None:
    text = await signed_in.text(PATH)
    assert 'name="r0/lineItems/0/productId" value="9999"' in text
    assert "No product is found for product ID 9999" in text
    assert text.count('aria-invalid="true"') == mend_records.RECORDS_PER_PAGE
    assert 'rel="next"' in text


async def test_what_is_mended_is_checked_and_nothing_is_sent_yet(signed_in: Site, apis: Apis) -> None:
    text = await send(signed_in, "check", product(0) | product(1, "nor-this"))
    assert text.count("Ready to send") == 1
    assert "No product is found for product ID nor-this" in text
    assert 'name="r1/lineItems/0/productId" value="nor-this"' in text
    assert len(apis.jobs["12345"]) == 1
    assert apis.validated == mend_records.RECORDS_PER_PAGE


async def test_what_is_ready_is_sent_as_a_new_import_and_both_name_each_other(signed_in: Site, apis: Apis) -> None:
    await send(signed_in, "check", product(0))
    second = str(mend_records.RECORDS_PER_PAGE)
    text = await send(signed_in, "send", product(int(second)), path=f"{PATH}?page={second}", page=second)
    assert "2 records were sent" in text
    (new,) = [job["jobId"] for job in apis.jobs["12345"] if job["jobId"] != JOB]
    sent = [each["record"] for each in apis.records[new]]
    assert [record["id"] for record in sent] == ["O0", f"O{second}"]
    assert [record["lineItems"][0]["productId"] for record in sent] == ["4556", "4556"]
    assert {record["mode"] for record in sent} == {"online"}, "the mode of the job that they were in"
    assert f"/portal/jobs/{new}" in await signed_in.text(f"/portal/jobs/{JOB}")
    assert f"/portal/jobs/{JOB}" in await signed_in.text(f"/portal/jobs/{new}")
    page = await signed_in.text(PATH)
    assert f'Sent with <a href="/portal/jobs/{new}"' in page


async def test_nothing_is_sent_twice(signed_in: Site, apis: Apis) -> None:
    """Breaks if a second click, an old page or the back button of a browser sends a record again."""
    for _ in range(3):
        await send(signed_in, "send", product(0))
    assert len(apis.jobs["12345"]) == 2
    text = await send(signed_in, "send", product(0, "other"))
    assert "Nothing was ready to send" in text


async def test_a_request_that_was_interrupted_is_sent_again_under_its_key(signed_in: Site, apis: Apis) -> None:
    """The process ends after the request was carried out, and before that was stored."""
    await send(signed_in, "send", product(0) | product(1))
    drafts = signed_in.components.files.drafts
    stored = await drafts.load(SITE, JOB)
    await drafts._drafts.update_many({"state": "sent"}, {"$set": {"state": "sending", "job": None}})
    assert {draft.state for draft in await drafts.load(SITE, JOB)} >= {DraftState.SENDING}
    await send(signed_in, "send", {})
    assert len(apis.jobs["12345"]) == 2
    assert [draft.job for draft in await drafts.load(SITE, JOB)] == [draft.job for draft in stored]


async def test_what_the_catalogue_has_learned_meanwhile_is_sent_as_it_is(signed_in: Site, apis: Apis) -> None:
    for record in apis.records[JOB]:
        record["record"]["lineItems"][0]["productId"] = "4556"
    text = await send(signed_in, "check", {})
    assert text.count("Ready to send") == mend_records.RECORDS_PER_PAGE


@pytest.mark.parametrize("record", ['{"id": "O0", "lineItems": [{"productId": "4556", "x": {"y": 1}}]}', "{"])
async def test_a_record_of_another_shape_is_mended_as_json(signed_in: Site, apis: Apis, record: str) -> None:
    odd: Any = {"id": "O0", "lineItems": [{"productId": "9999", "x": {"y": 1}}]}
    apis.records[JOB][0]["record"] = odd
    assert '<textarea class="mono" id="r0-json"' in await signed_in.text(PATH)
    text = await send(signed_in, "check", {"r0": record})
    if record == "{":
        assert "not valid JSON" in text
        return
    await send(signed_in, "send", {"r0": record})
    (new,) = [job["jobId"] for job in apis.jobs["12345"] if job["jobId"] != JOB]
    (sent,) = apis.records[new]
    assert sent["record"] == json.loads(record)


async def test_the_records_of_another_site_are_not_there(site: Site) -> None:
    async with await site.sign_in(OTHER):
        pass
    await site.text(PATH, status=404)
    token = await site.form_token("/portal/")
    async with await site.post(PATH, {"form_token": token, "action": "send"}) as response:
        assert response.status == 404


async def test_a_form_needs_its_token(signed_in: Site, apis: Apis) -> None:
    async with await signed_in.post(PATH, {"action": "send", **product(0)}) as response:
        assert response.status == 403
    assert apis.validated == 0


async def test_nothing_to_mend(signed_in: Site, apis: Apis) -> None:
    apis.records[JOB] = []
    assert "Nothing to mend" in await signed_in.text(PATH)
