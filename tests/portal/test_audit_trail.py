"""The audit trail of sign-ins and of codes that were shown: what is in it, its bounds, and what waits for it."""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import pytest

from services.chassis.mongodb.client import Mongo
from services.chassis.runtime.errors import UnavailableError
from services.portal.adapters.audit_trail import AUDIT, DAY_S, MongoAuditTrail
from services.portal.domain.operations import EntryView
from services.portal.domain.session import MINUTE_US
from services.portal.flows.sign_in import MAX_COUNTED_REFUSALS, MAX_LISTED_REFUSALS, OTHER_ADDRESSES, Refusal, refuse
from tests.portal.apis import CUSTOMER, OPERATOR, SECRET, Apis
from tests.portal.fake_fulfilment import CODE, an_order
from tests.portal.mongo_fixtures import Clock, clock, each_mongo  # noqa: F401 - fixtures
from tests.portal.operator_api import FakeOperatorApi
from tests.portal.site import NOW_US, Site

AUDIT_PAGE = "/portal/operator/audit"
DAYS = 3_650


class UnreachableTrail:
    """A trail whose store does not answer."""

    async def record(self, _action: str, **_details: object) -> None:
        raise UnavailableError("mongodb")

    async def count(self, _action: str, **_details: object) -> None:
        raise UnavailableError("mongodb")


@pytest.fixture
def trail(each_mongo: Mongo, clock: Clock) -> MongoAuditTrail:  # noqa: F811 - fixtures
    return MongoAuditTrail(each_mongo, now_us=clock, days=DAYS)


@pytest.fixture
def api(apis: Apis) -> FakeOperatorApi:
    """The operators' API."""
    made = FakeOperatorApi()
    apis.fails = made.answer
    return made


def actions(entries: Sequence[EntryView]) -> list[str]:
    return [entry.action for entry in entries]


async def test_entries_come_newest_first_and_page_by_page(trail: MongoAuditTrail, clock: Clock) -> None:  # noqa: F811
    for number in range(5):
        clock.now_us += 1
        await trail.record(f"action {number}", actor="ann", source="::1", site=7)
    first = await trail.entries(before="", limit=3)
    assert actions(first) == ["action 4", "action 3", "action 2"]
    assert (first[0].actor, first[0].source, first[0].details) == ("ann", "::1", {"site": 7})
    assert actions(await trail.entries(before=first[-1].id, limit=3)) == ["action 1", "action 0"]


async def test_equal_actions_of_a_minute_are_one_entry(trail: MongoAuditTrail, clock: Clock) -> None:  # noqa: F811
    for source in ("::1", "::1", "::2", "::1"):
        await trail.count("refused", actor="x", source=source, reason="wrong")
    await trail.count("refused", actor="x", source="::1", reason="throttled")
    clock.now_us += MINUTE_US
    await trail.count("refused", actor="x", source="::1", reason="wrong")
    newest, *others = await trail.entries(before="", limit=10)
    assert newest.details == {"reason": "wrong"}
    assert sorted((each.source, each.text) for each in others) == [
        ("::1", "reason: throttled"),
        ("::1", "reason: wrong, times: 3"),
        ("::2", "reason: wrong"),
    ]


async def test_entries_expire(trail: MongoAuditTrail, each_mongo: Mongo) -> None:  # noqa: F811
    for days in (DAYS, DAYS - 1):
        await MongoAuditTrail(each_mongo, now_us=Clock(), days=days).create_indexes()
        indexes = await each_mongo.collection(AUDIT).index_information()
        assert indexes["at_1"]["expireAfterSeconds"] == days * DAY_S
    await trail.record("x", actor="x", source="x")
    document = await each_mongo.collection(AUDIT).find_one({})
    assert document is not None
    assert document["at"].isoformat().startswith("2025-11-30T12:00:00")


async def test_operators_see_sign_ins_refusals_and_shown_codes(site: Site, apis: Apis, api: FakeOperatorApi) -> None:
    del api
    order = an_order(0, {"CARD-10": 3}, delivered=2)
    apis.fulfilment.orders = [order]
    for _ in range(3):
        async with await site.sign_in(CUSTOMER, "wrong-secret") as response:
            assert response.status == 401
    async with await site.sign_in() as response:
        assert response.status == 303
    address = f"/portal/codes/orders/{order['transactionId']}"
    form = {"form_token": await site.form_token(address), "sku": "CARD-10"}
    async with await site.post(f"{address}/codes", form) as response:
        assert response.status == 200
    site.client.session.cookie_jar.clear()
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    text = await site.text(AUDIT_PAGE)
    codes = f"site: 608, transactionId: {order['transactionId']}, codes: 2"
    for shown in ("Signed in", CUSTOMER, OPERATOR, "Sign-in refused", "times: 3", "Codes shown", codes, "127.0.0.1"):
        assert shown in text
    documents = str(await site.components.mongo.collection(AUDIT).find({}).to_list(length=None))
    for secret in (SECRET, "wrong-secret", CODE):
        assert secret not in documents


async def test_codes_are_not_shown_unless_that_is_recorded(signed_in: Site, apis: Apis) -> None:
    order = an_order(0, {"CARD-10": 3}, delivered=2)
    apis.fulfilment.orders = [order]
    address = f"/portal/codes/orders/{order['transactionId']}"
    form = {"form_token": await signed_in.form_token(address), "sku": "CARD-10"}
    object.__setattr__(signed_in.components.sign_in, "trail", UnreachableTrail())
    async with await signed_in.post(f"{address}/codes", form) as response:
        assert response.status == 503
        assert CODE not in await response.text()


async def test_a_request_for_codes_is_not_sent_unless_that_is_recorded(signed_in: Site, apis: Apis) -> None:
    order = an_order(0, {"CARD-10": 3}, delivered=2)
    apis.fulfilment.orders = [order]
    address = "/portal/developers/apis/fulfilment/getCodes"
    form = {"form_token": await signed_in.form_token(address), "p.transactionId": order["transactionId"]}
    signed_in.clock.us += 1
    async with await signed_in.post(address, form) as response:
        assert CODE in await response.text()
    newest, *_ = await signed_in.components.trail.entries(before="", limit=1)
    details = {"site": 608, "operation": "fulfilment.getCodes", "transactionId": order["transactionId"]}
    assert (newest.action, newest.details) == ("request sent from the portal", details)
    object.__setattr__(signed_in.components.developers, "trail", UnreachableTrail())
    async with await signed_in.post(address, form) as response:
        assert response.status == 503
        assert CODE not in await response.text()


async def test_the_end_of_a_session_is_recorded_before_it(signed_in: Site) -> None:
    trail, token = signed_in.components.trail, await signed_in.form_token("/portal/jobs")
    signed_in.clock.us += 1
    object.__setattr__(signed_in.components.sign_in, "trail", UnreachableTrail())
    async with await signed_in.post("/portal/sign-out", {"form_token": token}) as response:
        assert response.status == 503
    object.__setattr__(signed_in.components.sign_in, "trail", trail)
    async with await signed_in.post("/portal/sign-out", {"form_token": token}) as response:
        assert response.status == 303
    assert actions(await trail.entries(before="", limit=9)) == ["signed out", "signed in"]


async def test_tries_at_the_same_time_are_limited_like_others(site: Site) -> None:
    is_open = asyncio.Event()
    inspect = site.components.clients.inspect

    async def wait_and_inspect(client_id: str, secret: str) -> Any:
        await is_open.wait()
        return await inspect(client_id, secret)

    site.components.clients.inspect = wait_and_inspect
    form = {"form_token": await site.form_token(), "client_id": CUSTOMER, "client_secret": "wrong"}

    async def fail() -> int:
        async with await site.post("/portal/sign-in", form) as response:
            return response.status

    tries = [asyncio.create_task(fail()) for _ in range(15)]
    done, _ = await asyncio.wait(tries, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert {task.result() for task in done} == {429}
    is_open.set()
    assert sorted(await asyncio.gather(*tries)) == [401] * 10 + [429] * 5


async def test_what_is_not_a_failure_does_not_count(site: Site, apis: Apis) -> None:
    for _ in range(12):
        async with await site.sign_in() as response:
            assert response.status == 303
        site.client.session.cookie_jar.clear()
    apis.is_auth_away = True
    for _ in range(12):
        async with await site.sign_in() as response:
            assert response.status == 503
    apis.is_auth_away = False
    async with await site.sign_in() as response:
        assert response.status == 303


async def test_one_address_does_not_hide_the_others(site: Site) -> None:
    for _ in range(MAX_LISTED_REFUSALS + 30):
        await refuse(Refusal.STALE, "10.0.0.1", site.components.sign_in)
    await refuse(Refusal.UNMAPPED, "10.0.0.2", site.components.sign_in, account="a")
    documents = await site.components.mongo.collection(AUDIT).find({}).to_list(length=None)
    assert sorted((each["source"], each["count"]) for each in documents) == [
        ("10.0.0.1", MAX_COUNTED_REFUSALS),
        ("10.0.0.2", 1),
    ]


@pytest.mark.parametrize("secret", [SECRET, "wrong"])
async def test_nobody_signs_in_unless_that_is_recorded(site: Site, secret: str) -> None:
    object.__setattr__(site.components.sign_in, "trail", UnreachableTrail())
    async with await site.sign_in(CUSTOMER, secret) as response:
        assert response.status == 503
    assert "portal-session" not in site.cookies
    async with await site.get("/portal/jobs") as response:
        assert response.status == 303


async def test_refusals_from_many_addresses_do_not_fill_the_trail(site: Site) -> None:
    count = MAX_LISTED_REFUSALS + 30
    for number in range(count):
        await refuse(Refusal.WRONG, f"10.0.{number // 250}.{number % 250}", site.components.sign_in)
    documents = await site.components.mongo.collection(AUDIT).find({}).to_list(length=None)
    assert len(documents) == MAX_LISTED_REFUSALS + 1
    assert sum(each["count"] for each in documents) == count
    assert [each["count"] for each in documents if each["source"] == OTHER_ADDRESSES] == [30]


async def test_pages_hold_entries_of_both_trails_each_once(site: Site, api: FakeOperatorApi) -> None:
    trail: MongoAuditTrail = site.components.trail
    theirs: list[dict[str, Any]] = []
    for number in range(40):
        site.clock.us += 2
        await trail.record(f"ours {number}", actor="ann", source="::1")
        entry = {
            "id": f"{site.clock.us + 1:016d}-ff",
            "at": "2026-11-30T10:15:00.000Z",
            "actor": "bob",
            "source": "::1",
        }
        theirs.insert(0, {**entry, "action": f"theirs {number}", "details": {}})
    async with await site.sign_in(OPERATOR) as response:
        assert response.status == 303
    api.entries = theirs
    first = await site.text(AUDIT_PAGE)
    before = first.partition("?before=")[2].partition('"')[0]
    assert before > f"{NOW_US:016d}"
    api.entries = [each for each in theirs if each["id"] < before]
    second = await site.text(f"{AUDIT_PAGE}?before={before}")
    assert "?before=" not in second
    names = [f"{whose} {number}" for whose in ("Ours", "Theirs") for number in range(40)]
    assert all(len(re.findall(rf"<td>{name}\s", first + second)) == 1 for name in names)
