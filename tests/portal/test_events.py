"""Events: the feed, endpoints, deliveries, sending again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from tests.portal.apis import OTHER, RESELLER, Apis, problem
from tests.portal.events_api import ENDPOINT, SECRET, FakeEventsApi, a_delivery, an_endpoint, an_event
from tests.portal.site import NOW_US, Site

BASE = "/portal/events"
ONE = f"{BASE}/endpoints/{ENDPOINT}"
NOW = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=NOW_US)


@pytest.fixture
def feed(apis: Apis) -> FakeEventsApi:
    """The events API of every site."""
    made = FakeEventsApi()
    apis.feed = made
    return made


@pytest.fixture
def endpoint(feed: FakeEventsApi) -> FakeEventsApi:
    """The events API with one endpoint."""
    feed.endpoints[ENDPOINT] = an_endpoint()
    return feed


def ago(**duration: float) -> str:
    return (NOW - timedelta(**duration)).isoformat()


async def post(site: Site, path: str, form: dict[str, str], *, page: str = ONE, status: int = 303) -> tuple[str, str]:
    """Send a form of a page; return where it leads, and the page."""
    async with await site.post(path, {"form_token": await site.form_token(page), **form}) as response:
        text = await response.text()
        assert response.status == status, text
        return response.headers.get("Location", ""), text


@pytest.mark.usefixtures("feed")
async def test_a_site_without_events_is_told_so(signed_in: Site) -> None:
    text = await signed_in.text(BASE)
    assert "Nothing has happened yet" in text
    assert "No endpoints" in text


async def test_the_newest_events_come_first(signed_in: Site, feed: FakeEventsApi) -> None:
    feed.events = [an_event(number, ago(hours=100 - number)) for number in range(1, 100)]
    text = await signed_in.text(BASE)
    shown = [number for number in range(1, 100) if f"/feed/event-{number}?" in text]
    assert shown == list(range(50, 100))
    assert text.index("/feed/event-99?") < text.index("/feed/event-50?")
    assert "3 orders, 1 failed" in text


async def test_only_the_last_minute_of_a_busy_feed_is_read(signed_in: Site, feed: FakeEventsApi) -> None:
    old = [an_event(number, ago(days=2)) for number in range(1, 5_000)]
    feed.events = old + [an_event(number, ago(seconds=30)) for number in range(5_000, 5_060)]
    assert "/feed/event-5059?" in await signed_in.text(BASE)
    assert feed.reads == 1


async def test_a_feed_that_is_too_busy_says_that_events_are_missing(signed_in: Site, feed: FakeEventsApi) -> None:
    feed.events = [an_event(number, ago(seconds=30)) for number in range(1, 5_500)]
    assert "newer events may be missing" in await signed_in.text(BASE)


async def test_events_of_one_kind_are_shown(signed_in: Site, feed: FakeEventsApi) -> None:
    invoice = {"number": "2026-000001", "total": "10.00", "currency": "EUR"}
    feed.events = [an_event(1, ago(hours=2)), an_event(2, ago(hours=1), type="invoice.issued", data=invoice)]
    text = await signed_in.text(f"{BASE}?type=invoice.issued")
    assert "2026-000001: 10.00 EUR" in text
    assert "/feed/event-1?" not in text
    assert "/feed/event-1?" in await signed_in.text(f"{BASE}?type=nonsense")


async def test_an_event_is_shown_with_its_data(signed_in: Site, feed: FakeEventsApi) -> None:
    feed.events = [an_event(1, ago(hours=2), data={"jobId": "j1", "note": "<script>"})]
    path = (await signed_in.text(BASE)).split('href="/portal/events/feed/')[1].split('"')[0]
    async with await signed_in.get(f"{BASE}/feed/{path}") as response:
        text = await response.text()
    assert "&lt;script&gt;" in text
    assert 'href="/portal/jobs/j1"' in text


@pytest.mark.parametrize("query", ["", "?at=yesterday", "?at=2026-11-30T10:00:00", "?at=2026-11-30T10:00:00Z"])
@pytest.mark.usefixtures("feed")
async def test_an_event_that_is_not_kept_is_404(signed_in: Site, query: str) -> None:
    await signed_in.text(f"{BASE}/feed/event-7{query}", status=404)


async def test_a_new_endpoints_secret_is_shown_once(signed_in: Site, feed: FakeEventsApi) -> None:
    new = f"{BASE}/endpoints/new"
    form = {"url": "https://shop.example/x", "description": "Shop", "type.job.finished": "on", "ordered": "on"}
    _, text = await post(signed_in, f"{BASE}/endpoints", form, page=new, status=200)
    assert SECRET in text
    expected = {"url": "https://shop.example/x", "description": "Shop", "ordered": True, "types": ["job.finished"]}
    assert feed.changes == [("POST", "endpoints", expected)]
    assert SECRET not in await signed_in.text(ONE)


async def test_all_kinds_are_sent_as_none(signed_in: Site, feed: FakeEventsApi) -> None:
    text = await signed_in.text(f"{BASE}/endpoints/new")
    names = [part.split('"')[0] for part in text.split('name="type.')[1:]]
    form = {"url": "https://shop.example/x", **{f"type.{name}": "on" for name in names}}
    await post(signed_in, f"{BASE}/endpoints", form, page=f"{BASE}/endpoints/new", status=200)
    assert feed.changes[0][2]["types"] == []


async def test_what_is_wrong_with_an_endpoint_stands_at_its_field(signed_in: Site, feed: FakeEventsApi) -> None:
    errors = [{"pointer": "/url", "code": "INVALID_URL", "detail": "url must be reachable from everywhere"}]
    feed.failure = httpx2.Response(422, json={"code": "INVALID_URL", "detail": "no", "errors": errors})
    form = {"url": "https://10.0.0.1/", "description": "Mine"}
    _, text = await post(signed_in, f"{BASE}/endpoints", form, page=f"{BASE}/endpoints/new", status=400)
    assert "Url must be reachable from everywhere." in text
    assert 'value="https://10.0.0.1/"' in text
    assert 'value="Mine"' in text


@pytest.mark.parametrize("failure", [httpx2.ReadError("reset"), problem(503, "UNAVAILABLE")])
async def test_an_endpoint_whose_answer_is_lost_is_not_added_twice(
    signed_in: Site, feed: FakeEventsApi, failure: httpx2.Response | Exception
) -> None:
    feed.failure = failure
    form = {"url": "https://shop.example/x"}
    _, text = await post(signed_in, f"{BASE}/endpoints", form, page=f"{BASE}/endpoints/new", status=503)
    assert "look whether the endpoint is in the list" in text
    assert len(feed.changes) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ["Works", "Our till", "everything"]),
        ({"failingSince": "2026-11-30T09:00:00Z"}, ["Failing", "10:00", "09:00 UTC"]),
        (
            {"enabled": False, "disabledReason": "gone", "missedSince": "2026-11-30T09:00:00Z"},
            ["Disabled", "410", "Enable"],
        ),
        ({"types": ["job.finished"], "ordered": True}, ["job.finished", "one after the other"]),
    ],
)
async def test_an_endpoint_says_how_it_is(
    signed_in: Site, feed: FakeEventsApi, fields: dict[str, Any], expected: list[str]
) -> None:
    feed.endpoints[ENDPOINT] = an_endpoint(**fields)
    text = await signed_in.text(ONE)
    assert [part for part in expected if part not in text] == []


async def test_deliveries_show_what_came_back(signed_in: Site, endpoint: FakeEventsApi) -> None:
    attempt = {
        "attempt": 2,
        "at": "2026-11-30T10:16:00Z",
        "status": None,
        "latencyMs": 9,
        "error": "timeout",
        "answer": "",
    }
    endpoint.deliveries = [
        a_delivery(3, state="pending", attempts=[attempt, attempt], nextTryAt="2026-11-30T10:21:00Z"),
        a_delivery(2, state="failed", attempts=[attempt | {"status": 500, "error": None, "answer": "<b>oops</b>"}]),
        a_delivery(1),
        a_delivery(0, type="endpoint.ping", state="pending", attempts=[]),
    ]
    text = await signed_in.text(ONE)
    for part in ["Tried again", "2 tries", "timeout", "Given up", ">500<", "Delivered", "Test of the endpoint"]:
        assert part in text
    async with await signed_in.get(ONE) as response:
        assert "&lt;b&gt;oops" in await response.text()


async def test_deliveries_have_fifty_a_page(signed_in: Site, endpoint: FakeEventsApi) -> None:
    endpoint.deliveries = [a_delivery(number) for number in range(120, 0, -1)]
    text = await signed_in.text(ONE)
    assert "50 deliveries on this page" in text
    assert f'href="{ONE}?page=50"' in text
    assert "20 deliveries on this page" in await signed_in.text(f"{ONE}?page=100")


async def test_an_endpoint_is_changed(signed_in: Site, endpoint: FakeEventsApi) -> None:
    location, _ = await post(signed_in, f"{ONE}/change", {"url": "https://b.example/", "type.job.finished": "on"})
    assert location == ONE
    fields = {"url": "https://b.example/", "description": "", "ordered": False, "types": ["job.finished"]}
    assert endpoint.changes == [("PATCH", f"endpoints/{ENDPOINT}", fields)]
    assert 'value="https://b.example/"' in await signed_in.text(f"{ONE}/change")


@pytest.mark.parametrize(("value", "expected"), [("false", False), ("true", True)])
async def test_an_endpoint_is_disabled_and_enabled(
    signed_in: Site, endpoint: FakeEventsApi, value: str, *, expected: bool
) -> None:
    await post(signed_in, f"{ONE}/enabled", {"enabled": value})
    assert endpoint.changes == [("PATCH", f"endpoints/{ENDPOINT}", {"enabled": expected})]


async def test_a_new_secret_is_asked_for_and_shown_once(signed_in: Site, endpoint: FakeEventsApi) -> None:
    assert "signed with the old one" in await signed_in.text(f"{ONE}/rotate")
    assert endpoint.changes == []
    _, text = await post(signed_in, f"{ONE}/rotate", {}, status=200)
    assert SECRET in text
    assert len(endpoint.changes) == 1


async def test_a_fifth_secret_is_refused_with_a_reason(signed_in: Site, endpoint: FakeEventsApi) -> None:
    endpoint.failure = problem(409, "TOO_MANY_SECRETS")
    _, text = await post(signed_in, f"{ONE}/rotate", {}, status=409)
    assert "No further secret" in text


async def test_deleting_asks_first(signed_in: Site, endpoint: FakeEventsApi) -> None:
    assert "Delete this endpoint?" in await signed_in.text(f"{ONE}/delete")
    assert endpoint.changes == []
    location, _ = await post(signed_in, f"{ONE}/delete", {})
    assert location == BASE
    assert endpoint.changes == [("DELETE", f"endpoints/{ENDPOINT}", None)]
    await signed_in.text(ONE, status=404)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"since": "2026-11-30T10:00", "which": "failed"}, {"failedSince": "2026-11-30T10:00:00+01:00"}),
        ({"since": "2026-07-01T10:00", "which": "all"}, {"since": "2026-07-01T10:00:00+02:00"}),
        ({"event": "event-7"}, {"eventId": "event-7"}),
    ],
)
async def test_events_are_sent_again(
    signed_in: Site, endpoint: FakeEventsApi, form: dict[str, str], expected: dict[str, str]
) -> None:
    location, _ = await post(signed_in, f"{ONE}/replay", form)
    assert endpoint.changes == [("POST", f"endpoints/{ENDPOINT}/replay", expected)]
    text = await signed_in.text(location)
    assert "of 1,000" in text
    assert "data-unfinished" in text


async def test_sending_again_can_be_stopped(signed_in: Site, endpoint: FakeEventsApi) -> None:
    location, _ = await post(signed_in, f"{ONE}/replay", {"event": "event-7"})
    location, _ = await post(signed_in, f"{ONE}/replays/r-1/stop", {})
    text = await signed_in.text(location)
    assert "Stopped" in text
    assert "data-unfinished" not in text
    assert endpoint.changes[-1][:2] == ("DELETE", f"endpoints/{ENDPOINT}/replays/r-1")


@pytest.mark.parametrize("since", ["", "soon"])
async def test_sending_again_needs_a_time(signed_in: Site, endpoint: FakeEventsApi, since: str) -> None:
    _, text = await post(signed_in, f"{ONE}/replay", {"since": since}, status=400)
    assert "From when on?" in text
    assert endpoint.changes == []


async def test_a_second_replay_is_refused_with_a_reason(signed_in: Site, endpoint: FakeEventsApi) -> None:
    endpoint.failure = problem(409, "REPLAY_RUNNING")
    _, text = await post(signed_in, f"{ONE}/replay", {"event": "event-7"}, status=409)
    assert "It cannot be sent again now" in text


@pytest.mark.usefixtures("endpoint")
@pytest.mark.parametrize("path", [BASE, ONE])
async def test_a_client_without_the_right_sees_no_events(site: Site, path: str) -> None:
    async with await site.sign_in(RESELLER):
        pass
    await site.text(path, status=403)


@pytest.mark.usefixtures("feed")
@pytest.mark.parametrize("path", ["", "/change", "/rotate", "/delete"])
async def test_another_sites_endpoint_is_404(site: Site, path: str) -> None:
    async with await site.sign_in(OTHER):
        pass
    await site.text(ONE + path, status=404)
