"""The feed over HTTP: pages, cursors, instants, filters, waiting, streams."""

import asyncio
import json
from typing import Any

import pytest

from services.webhooks.domain.event import EventType
from tests.chassis.eventually import until
from tests.webhooks.api_fixtures import FeedClient, api, read_frames
from tests.webhooks.events import NOON_US, OTHER_SITE, an_event

__all__ = ["api"]

STREAM = {"Accept": "text/event-stream"}


def record_reads(api: FeedClient) -> list[Any]:
    """Return the queries that the feed's store gets from now on."""
    queries: list[Any] = []
    read = api.feed.read

    async def recorded(query: Any) -> Any:
        queries.append(query)
        return await read(query)

    api.feed.read = recorded  # type: ignore[method-assign]
    return queries


async def test_a_feed_is_walked_from_any_cursor_while_it_grows(api: FeedClient) -> None:
    """Each event exactly once, in order."""
    await api.append(*(an_event(n) for n in range(5)))
    cursors: list[tuple[int, str]] = []
    seen: list[int] = []
    cursor = ""
    for number in range(5, 40):
        sequences, cursor = await api.read(rows=3, **({"after": cursor} if cursor else {}))
        cursors.append((len(seen) + len(sequences), cursor))
        seen += sequences
        await api.append(an_event(number))
    assert seen == list(range(1, len(seen) + 1))
    for position, cursor in cursors:
        sequences, _ = await api.read(after=cursor, rows=1_000)
        assert sequences == list(range(position + 1, 41))


async def test_the_last_page_has_a_cursor_too(api: FeedClient) -> None:
    sequences, cursor = await api.read()
    assert sequences == []
    await api.append(an_event(1))
    assert (await api.read(after=cursor))[0] == [1]
    sequences, end = await api.read(after=(await api.read())[1])
    assert sequences == []
    await api.append(an_event(2))
    assert (await api.read(after=end))[0] == [2]


async def test_a_cursor_is_good_for_any_filter(api: FeedClient) -> None:
    types = [EventType.JOB_FINISHED, EventType.INVOICE_ISSUED]
    await api.append(*(an_event(n, type_=types[n % 2]) for n in range(6)))
    sequences, cursor = await api.read(types="invoice.issued", rows=1)
    assert sequences == [2]
    assert (await api.read(after=cursor))[0] == [3, 4, 5, 6]
    assert (await api.read(after=cursor, types="invoice.issued, job.finished"))[0] == [3, 4, 5, 6]
    assert (await api.read(after=cursor, types="codes.available"))[0] == []


@pytest.mark.parametrize(
    ("after", "sequences"),
    [
        ("2026-01-01T11:59:59Z", [1, 2]),
        ("2026-01-01T12:00:00Z", [2]),
        ("2026-01-01T13:00:00+01:00", [2]),
        ("2026-01-01T13:00:00 01:00", [2]),
        ("20260101T120001Z", []),
        ("2026-01-01", [1, 2]),
        ("2026-01-02", []),
    ],
)
async def test_a_feed_is_read_from_an_instant(api: FeedClient, after: str, sequences: list[int]) -> None:
    await api.append(an_event(1))
    api.now_us[0] = NOON_US + 500_000
    await api.append(an_event(2))
    assert (await api.read(after=after))[0] == sequences


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"after": "nonsense!"}, "INVALID_CURSOR"),
        ({"after": "2026-13-01T00:00:00Z"}, "INVALID_CURSOR"),
        ({"after": ""}, "INVALID_CURSOR"),
        ({"types": "job.started"}, "INVALID_TYPES"),
        ({"types": ""}, "INVALID_TYPES"),
        ({"rows": "0"}, "INVALID_ROWS"),
        ({"rows": "1001"}, "INVALID_ROWS"),
    ],
)
@pytest.mark.parametrize("headers", [{}, STREAM], ids=["page", "stream"])
async def test_invalid_parameters_are_refused(
    api: FeedClient, query: dict[str, str], code: str, headers: dict[str, str]
) -> None:
    response = await api.get(headers=headers, **query)
    assert response.status == 400
    assert json.loads(await response.text())["code"] == code


@pytest.mark.parametrize("headers", [{}, STREAM], ids=["page", "stream"])
async def test_another_sites_cursor_is_refused(api: FeedClient, headers: dict[str, str]) -> None:
    await api.append(an_event(1, site=OTHER_SITE))
    sequences, cursor = await api.read(path="/events/v1/67890/events", who="other")
    assert sequences == [1]
    response = await api.get(after=cursor, headers=headers)
    assert response.status == 400


async def test_a_site_sees_its_own_events_only(api: FeedClient) -> None:
    await api.append(an_event(1, site=OTHER_SITE), an_event(2))
    page = json.loads(await (await api.get()).text())
    assert [event["id"] for event in page["result"]] == [an_event(2).id]


async def test_waiting_ends_when_an_event_comes(api: FeedClient) -> None:
    waiting = asyncio.create_task(api.get(headers={"Prefer": "wait=30"}))
    await until(lambda: api.notifier.has_waiters)
    await api.append(an_event(1, site=OTHER_SITE))
    assert not waiting.done()
    await api.append(an_event(1))
    response = await waiting
    assert response.headers["Preference-Applied"] == "wait"
    assert [event["sequence"] for event in json.loads(await response.text())["result"]] == [1]


async def test_waiting_ends_after_the_time_given(api: FeedClient) -> None:
    sequences, cursor = await api.read(headers={"Prefer": "wait=0"})
    assert (sequences, bool(cursor)) == ([], True)


async def test_waiting_ends_when_the_process_stops(api: FeedClient) -> None:
    waiting = asyncio.create_task(api.read(headers={"Prefer": "wait=30"}))
    await until(lambda: api.notifier.has_waiters)
    await api.notifier.stop()
    assert (await waiting)[0] == []


async def test_a_stream_has_what_was_and_what_comes(api: FeedClient) -> None:
    await api.append(an_event(1), an_event(2))
    async with await api.get(headers=STREAM) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        frames = list(await read_frames(response, 2))
        await api.append(an_event(3))
        frames += await read_frames(response, 1)
    assert [frame.data["sequence"] for frame in frames] == [1, 2, 3]
    assert {frame.type for frame in frames} == {"job.finished"}


async def test_a_stream_that_was_cut_continues_behind_the_last_event(api: FeedClient) -> None:
    """Breaks: the connection, at every event. Must hold: each event once, in order."""
    seen: list[int] = []
    cursor = ""
    for number in range(8):
        await api.append(an_event(2 * number), an_event(2 * number + 1))
        headers = STREAM | ({"Last-Event-ID": cursor} if cursor else {})
        async with await api.get(headers=headers, after="ignored" if cursor else "2020-01-01T00:00:00Z") as response:
            (frame,) = await read_frames(response, 1)
        seen.append(frame.data["sequence"])
        cursor = frame.id
    assert seen == list(range(1, 9))
    await until(lambda: not api.notifier.has_waiters)


async def test_a_quiet_stream_has_a_heartbeat(api: FeedClient) -> None:
    async with await api.get(headers=STREAM) as response:
        lines = [await response.content.readline() for _ in range(6)]
    assert lines == [b"retry: 2000\n", b"\n", b": \n", b"\n", b": \n", b"\n"]


async def test_a_heartbeat_costs_no_query(api: FeedClient) -> None:
    """Breaks: nothing happens for a while. Must hold: the feed is read once, and an event still comes at once."""
    reads = record_reads(api)
    async with await api.get(headers=STREAM) as response:
        for _ in range(12):
            await response.content.readline()
        assert len(reads) == 1
        await api.append(an_event(1))
        (frame,) = await read_frames(response, 1)
        assert frame.data["sequence"] == 1


async def test_a_stream_ends_with_its_token(api: FeedClient) -> None:
    async with await api.get(headers=STREAM) as response:
        await response.content.readline()
        api.verifier.revoked.add("good")
        await api.append(an_event(1))
        rest = await response.content.read()
    assert b"data:" not in rest


async def test_a_stream_ends_when_the_process_stops(api: FeedClient) -> None:
    async with await api.get(headers=STREAM) as response:
        await response.content.readline()
        await api.notifier.stop()
        await response.content.read()


async def test_further_streams_are_refused_and_further_waits_cut_short(api: FeedClient) -> None:
    streams: list[Any] = [await api.get(headers=STREAM) for _ in range(3)]
    refused = await api.get(headers=STREAM)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert (await api.read(headers={"Prefer": "wait=30"}))[0] == []
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    ("who", "status"), [("good", 200), ("reader", 200), ("writer", 403), ("other", 403), ("x", 401)]
)
async def test_the_scope_and_the_site_are_checked(api: FeedClient, who: str, status: int) -> None:
    assert (await api.get(who=who)).status == status


async def test_readers_that_wake_together_share_a_query(api: FeedClient) -> None:
    queries = record_reads(api)
    waiting = [asyncio.create_task(api.get(headers={"Prefer": "wait=30"})) for _ in range(3)]
    await until(lambda: api.notifier._count == 3)
    queries.clear()
    await api.append(an_event(1))
    assert [response.status for response in await asyncio.gather(*waiting)] == [200] * 3
    assert len(queries) == 1


async def test_head_does_not_stream(api: FeedClient) -> None:
    response = await api.client.head("/events/v1/12345/events", headers={"Authorization": "Bearer good", **STREAM})
    assert response.status == 200
