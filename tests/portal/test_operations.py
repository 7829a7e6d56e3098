"""Topics, dead letters, replays and the audit trail; for operators only."""

from typing import Any

import pytest

from tests.portal.apis import OPERATOR, Apis, problem
from tests.portal.conftest import OpenSite
from tests.portal.operator_api import LETTER, REPLAY, FakeOperatorApi, a_group, a_letter, a_replay
from tests.portal.site import Site

BASE = "/portal/operator"
LETTERS = f"{BASE}/dead-letters"
THIS_REPLAY = f"{BASE}/replays/{REPLAY}"
PATHS = ["/topics", "/dead-letters", f"/dead-letters/{LETTER}", "/replays", f"/replays/{REPLAY}", "/audit"]


@pytest.fixture
def api(apis: Apis) -> FakeOperatorApi:
    """The operators' API."""
    made = FakeOperatorApi()
    apis.fails = made.answer
    return made


@pytest.fixture
async def operator(site: Site, api: FakeOperatorApi) -> Site:
    """A browser of an operator who is signed in."""
    del api
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    return site


async def post(site: Site, path: str, form: dict[str, str], *, page: str = LETTERS, status: int = 303) -> str:
    """Send a form of a page; return where it leads, or the page."""
    async with await site.post(path, {"form_token": await site.form_token(page), **form}) as response:
        text = await response.text()
        assert response.status == status, text
        return response.headers.get("Location", "") or text


@pytest.mark.parametrize("path", PATHS)
async def test_customers_see_none_of_it(signed_in: Site, api: FakeOperatorApi, path: str) -> None:
    await signed_in.text(BASE + path, status=403)
    assert not api.queries


@pytest.mark.parametrize("path", ["/replays", f"/replays/{REPLAY}/start", f"/replays/{REPLAY}/abort"])
async def test_customers_change_nothing(signed_in: Site, api: FakeOperatorApi, path: str) -> None:
    await post(signed_in, BASE + path, {}, page="/portal/developers/decode", status=403)
    assert not api.changes


async def test_without_the_api_the_pages_say_so(open_site: OpenSite, api: FakeOperatorApi) -> None:
    del api
    site = await open_site(portal_operator_url=None)
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    await site.text(f"{BASE}/topics", status=503)
    text = await site.text(BASE + "/audit")
    assert "Signed in" in text
    assert "not connected to the operators" in text


async def test_topics_show_how_far_consumers_are_behind(operator: Site) -> None:
    text = await operator.text(f"{BASE}/topics")
    for shown in ("orders.submitted.v1", "12,345", "7.5", "validator", "4,321", "3 min", "Missing"):
        assert shown in text


async def test_tokens_are_those_of_auths_admin_api(operator: Site, apis: Apis, api: FakeOperatorApi) -> None:
    before = apis.token_requests
    for _ in range(2):
        await operator.text(f"{BASE}/topics")
    assert apis.token_requests == before + 1
    assert {request.url.host for request in apis.requests if "/operator/" in request.url.path} == {"operator.example"}
    assert len(api.queries) == 2


async def test_dead_letters_are_shown_in_groups(operator: Site, api: FakeOperatorApi) -> None:
    text = await operator.text(f"{LETTERS}?reason=unknown-schema&since=2026-11-30T08:00&topic=")
    assert api.queries == [{"reason": ["unknown-schema"], "since": ["2026-11-30T08:00"]}]
    for shown in ("unknown-schema", "1,000", "10 sent back", f"{LETTERS}/{LETTER}", "Count for a replay"):
        assert shown in text
    assert "There are more" not in text
    api.findings = {"groups": [a_group(replayable=0)], "total": 1_000, "isComplete": False}
    text = await operator.text(LETTERS)
    assert "There are more" in text
    assert "Count for a replay" not in text


async def test_no_dead_letters_is_good_news(operator: Site, api: FakeOperatorApi) -> None:
    api.findings = {"groups": [], "total": 0, "isComplete": True}
    assert "Everything that came in could be processed" in await operator.text(LETTERS)
    assert "No dead letters match" in await operator.text(f"{LETTERS}?reason=x")


async def test_a_filter_that_is_refused_is_explained(operator: Site, api: FakeOperatorApi) -> None:
    api.refusal = problem(400, "INVALID_PARAMETER", "since is a date and time in ISO 8601")
    assert "Since is a date and time in ISO 8601." in await operator.text(f"{LETTERS}?since=x", status=400)


async def test_a_dead_letter_is_shown_with_its_record(operator: Site, api: FakeOperatorApi) -> None:
    text = await operator.text(f"{LETTERS}/{LETTER}")
    assert '"userId": "[removed]"' in text
    assert "order, version 1, 120 bytes" in text
    api.letter = a_letter(
        size=9, isWhole=False, schema=None, version=None, record=None, problem="No schema has the id 9."
    )
    text = await operator.text(f"{LETTERS}/{LETTER}")
    assert "No schema has the id 9. Its 9 bytes are not shown" in text
    assert "only the beginning" in text
    await operator.text(f"{LETTERS}/orders.submitted.v1.dlq/0/8", status=404)


async def test_a_replay_begins_with_a_count(operator: Site, api: FakeOperatorApi) -> None:
    form = {"reason": "unknown-schema", "topic": "orders.submitted.v1", "group": "validator", "since": ""}
    assert await post(operator, f"{BASE}/replays", form) == THIS_REPLAY
    criteria = {"reasons": ["unknown-schema"], "topics": ["orders.submitted.v1"], "groups": ["validator"]}
    assert api.changes == [("replays", criteria)]


@pytest.mark.parametrize(
    ("replay", "shown", "hidden"),
    [
        (a_replay("counting", replayable=0), ["Counting", "data-unfinished", "Abort"], ["/start"]),
        (a_replay(), ["Waits for you", "Send back 1,000", "2 were sent back before, 1 cannot be"], ["data-unfinished"]),
        (a_replay(replayable=0), ["Waits for you"], ["/start"]),
        (a_replay("running", replayed=400), ["Running", "data-unfinished", "40%", "Abort"], ["/start"]),
        (a_replay("aborted", replayed=400), ["Aborted", "Resume"], ["/abort", "data-unfinished"]),
        (a_replay("finished", replayed=1_000), ["Finished", "100%"], ["/abort", "/start", "somebody else"]),
        (a_replay("finished", replayed=990), ["10 of those that were counted"], ["/abort", "/start"]),
        (a_replay("refused"), ["More than 100,000"], ["/abort", "/start"]),
    ],
)
async def test_a_replays_page_offers_what_can_be_done(
    operator: Site, api: FakeOperatorApi, replay: dict[str, Any], shown: list[str], hidden: list[str]
) -> None:
    api.replay = replay
    text = await operator.text(THIS_REPLAY)
    assert [each for each in shown if each not in text] == []
    assert [each for each in hidden if each in text.partition("<main")[2]] == []


async def test_a_replay_is_started_and_aborted(operator: Site, api: FakeOperatorApi) -> None:
    for action in ("start", "abort"):
        assert await post(operator, f"{THIS_REPLAY}/{action}", {}) == THIS_REPLAY
    assert api.changes == [(f"replays/{REPLAY}/start", None), (f"replays/{REPLAY}/abort", None)]
    api.refusal = problem(409, "NOT_POSSIBLE", "the replay is finished")
    page = await post(operator, f"{THIS_REPLAY}/start", {}, page=THIS_REPLAY, status=409)
    assert "The replay is finished." in page


async def test_replays_are_listed(operator: Site, api: FakeOperatorApi) -> None:
    text = await operator.text(f"{BASE}/replays")
    assert THIS_REPLAY in text
    assert "unknown-schema" in text
    api.replay = a_replay(filter={})
    assert "all dead letters" in await operator.text(f"{BASE}/replays")


async def test_the_audit_trail_goes_back_page_by_page(operator: Site, api: FakeOperatorApi) -> None:
    assert "Signed in" in await operator.text(f"{BASE}/audit")
    details = {"replay": REPLAY, "reasons": ["unknown-schema"], "replayed": 1_000}
    api.entries = [
        {"id": f"e{number}", "at": "2026-11-30T10:15:00.000Z", "actor": "ann", "source": "::1", "details": details}
        | {"action": "replay finished"}
        for number in range(99, 49, -1)
    ]
    text = await operator.text(f"{BASE}/audit")
    for shown in ("Replay finished", "ann", "reasons: unknown-schema, replayed: 1000", THIS_REPLAY, "before=e50"):
        assert shown in text
    await operator.text(f"{BASE}/audit?before=e50")
    assert api.queries[-1] == {"before": ["e50"], "limit": ["50"]}
    looked_at = {"id": "e1", "at": "2026-11-30T10:15:00.000Z", "actor": "ann", "source": "::1"}
    api.entries = [looked_at | {"action": "dead letter shown", "details": {"deadLetter": LETTER}}]
    assert f"deadLetter: {LETTER}" in await operator.text(f"{BASE}/audit")
    api.entries = []
    assert "No more entries" in await operator.text(f"{BASE}/audit?before=0")
