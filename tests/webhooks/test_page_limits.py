"""I8: what the pages and streams of one client take does not harm others."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from services.chassis.http import page_limits
from services.webhooks.adapters import delivery_store
from services.webhooks.domain.delivery import MAX_ANSWER_CHARS, Delivery, DeliveryState, Outcome
from services.webhooks.domain.event import FeedEvent
from services.webhooks.http import feed, responses
from services.webhooks.http.endpoints import MAX_PAGE_BYTES
from tests.support.turns import turns
from tests.support.unsent_bytes import UnsentBytes
from tests.webhooks.api_fixtures import FeedClient, build_client, read_frames
from tests.webhooks.events import NOON_US, SITE, an_event, some_events
from tests.webhooks.sender_harness import SenderHarness, harness

__all__ = ["harness", "turns"]

BASE = "/events/v1/12345"
STREAM = {"Accept": "text/event-stream"}
OUTCOME = Outcome(at_us=NOON_US, latency_ms=1, status=500, answer="\N{SNOWMAN}" * MAX_ANSWER_CHARS)
DELIVERY = Delivery(
    endpoint="e",
    site=SITE,
    sequence=0,
    event="v",
    type="job.finished",
    state=DeliveryState.FAILED,
    tries=[OUTCOME] * 50,
)
MAX_DELIVERY_BYTES = 60_000


@pytest.fixture
async def api(harness: SenderHarness) -> AsyncIterator[FeedClient]:
    client = await build_client(harness.feed, manage=lambda _: harness.manage, max_waiters=10)
    yield client
    await client.notifier.stop()
    await client.client.close()


async def test_a_page_of_deliveries_ends_at_a_number_of_bytes_and_the_next_one_continues(
    api: FeedClient, harness: SenderHarness
) -> None:
    """Breaks: an endpoint answers much each time, and each delivery is replayed often."""
    endpoint, _ = await harness.create()
    failed = [replace(DELIVERY, endpoint=endpoint.id, sequence=number) for number in range(1, 71)]
    await harness.deliveries.save(failed, added_tries=50)
    seen, query = list[int](), dict[str, Any](rows=500)
    while True:
        response = await api.get(f"{BASE}/endpoints/{endpoint.id}/deliveries", **query)
        body = await response.read()
        assert len(body) < MAX_PAGE_BYTES + MAX_DELIVERY_BYTES
        page = json.loads(body)
        assert page["pagination"]["count"] == len(page["result"]) > 0
        seen += [each["sequence"] for each in page["result"]]
        if page["pagination"]["nextPageToken"] is None:
            break
        query["page"] = page["pagination"]["nextPageToken"]
    assert [each for each in seen if each] == list(range(70, 0, -1))


@pytest.mark.parametrize("step", [(delivery_store, "from_document"), (responses, "delivery")])
async def test_other_tasks_run_between_deliveries_with_many_tries(
    api: FeedClient,
    harness: SenderHarness,
    turns: list[int],
    monkeypatch: pytest.MonkeyPatch,
    step: tuple[ModuleType, str],
) -> None:
    """Breaks: a client asks for deliveries that were tried often; 25 were decoded, and rendered, between two turns."""
    endpoint, _ = await harness.create()
    failed = [replace(DELIVERY, endpoint=endpoint.id, sequence=number) for number in range(1, 11)]
    await harness.deliveries.save(failed, added_tries=50)
    taken_at, take_step = list[int](), getattr(*step)

    def record(value: Any, *others: Any) -> Any:
        if len(value["tries"] if isinstance(value, dict) else value.tries) > 1:
            taken_at.append(turns[0])
        return take_step(value, *others)

    monkeypatch.setattr(*step, record)
    assert (await api.get(f"{BASE}/endpoints/{endpoint.id}/deliveries", rows=500)).status == 200
    assert len(taken_at) == len(set(taken_at)) >= 10


async def test_other_tasks_run_while_a_stream_is_rendered(turns: list[int]) -> None:
    """Breaks: one client opens hundreds of streams of a long feed; 200 cursors were signed between two turns."""
    events = [FeedEvent(number, "v", "job.finished", "{}", NOON_US) for number in range(200)]
    before = turns[0]
    frames = await feed.render_frames(events, lambda event: f"{event.sequence} ".encode())
    assert turns[0] - before >= 8
    assert frames.split() == [str(number).encode() for number in range(200)]


@pytest.mark.parametrize("rows", [3, 25, 30])
async def test_a_page_of_many_portions_is_complete(api: FeedClient, harness: SenderHarness, rows: int) -> None:
    endpoint, _ = await harness.create()
    small = replace(DELIVERY, endpoint=endpoint.id, tries=[])
    await harness.deliveries.save([replace(small, sequence=number) for number in range(1, 56)])
    counts, seen, query = list[int](), list[int](), dict[str, Any](rows=rows)
    while query:
        page = json.loads(await (await api.get(f"{BASE}/endpoints/{endpoint.id}/deliveries", **query)).read())
        counts.append(len(page["result"]))
        seen += [each["sequence"] for each in page["result"]]
        token = page["pagination"]["nextPageToken"]
        query = {"rows": rows, "page": token} if token else {}
    assert [each for each in seen if each] == list(range(55, 0, -1))
    assert set(counts[:-1]) == {rows}


@pytest.mark.parametrize(
    "path", ["/events?rows=1000", "/events", "/endpoints/{}/deliveries", "/endpoints/{}/deliveries?rows=500"]
)
async def test_pages_count_until_they_are_read_and_a_client_has_a_bound(
    api: FeedClient, harness: SenderHarness, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    endpoint, _ = await harness.create()
    await api.append(an_event(1))
    unsent = UnsentBytes.of(api.page_limits)
    url = BASE + path.format(endpoint.id)
    body = await (await api.get(url)).read()
    assert unsent.highest == len(body) > 0
    monkeypatch.setattr(page_limits, "MAX_UNSENT_BYTES_PER_CLIENT", 0)
    refused = await api.get(url)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "1")


async def test_a_client_has_a_number_of_streams_and_others_have_theirs(
    api: FeedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: one client opens as many streams as there may be, and reads none."""
    monkeypatch.setattr(feed, "MAX_STREAMS_PER_CLIENT", 2)
    streams = [await api.get(headers=STREAM) for _ in range(2)]
    refused = await api.get(headers=STREAM)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
    other = await api.get("/events/v1/67890/events", headers=STREAM, who="other")
    assert other.status == 200
    for stream in (*streams, other):
        stream.close()


async def test_what_a_stream_sends_counts_and_ends_beyond_the_bound(
    api: FeedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: streams of a long feed that nobody reads. The client goes on where it stopped, once it may."""
    await api.append(an_event(1), an_event(2))
    unsent = UnsentBytes.of(api.page_limits)
    async with await api.get(headers=STREAM) as response:
        frames = await read_frames(response, 2)
        assert unsent.highest > sum(len(frame.id) for frame in frames)
        monkeypatch.setattr(page_limits, "MAX_UNSENT_BYTES_PER_CLIENT", 0)
        await api.append(an_event(3))
        assert b"data:" not in await response.content.read()
    assert (await api.get(headers=STREAM)).status == 429
    monkeypatch.undo()
    async with await api.get(headers=STREAM | {"Last-Event-ID": frames[-1].id}) as response:
        (frame,) = await read_frames(response, 1)
        assert frame.data["sequence"] == 3


async def test_streams_of_a_client_hold_up_nobody_else(api: FeedClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Breaks: a client opens streams of a long feed. One page is rendered in each turn of the loop."""
    await api.append(*some_events(600))
    turn, rendered, render = 0, Counter[int](), feed.FeedApi._frame

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def record(self: feed.FeedApi, site: int, event: FeedEvent) -> bytes:
        rendered[turn] += 1
        return render(self, site, event)

    monkeypatch.setattr(feed.FeedApi, "_frame", record)
    counting = asyncio.create_task(count_turns())
    streams = await asyncio.gather(*(api.get(headers=STREAM) for _ in range(10)))
    await asyncio.gather(*(read_frames(stream, 600) for stream in streams))
    counting.cancel()
    for stream in streams:
        stream.close()
    assert rendered.total() == 6_000
    assert max(rendered.values()) <= feed.STREAM_ROWS
