"""The stream of live changes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from services.portal.adapters import live_feed
from tests.chassis.eventually import until
from tests.portal.apis import Apis
from tests.portal.conftest import OpenSite
from tests.portal.site import Site


class Feed:
    """The feed of a site: a request waits until there is an event behind its cursor."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.has_more = asyncio.Event()
        self.waiting = self.requests = 0

    def add(self, *jobs: str) -> None:
        self.events += jobs
        self.has_more.set()
        self.has_more = asyncio.Event()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests += 1
        after = request.url.params.get("after", "0")
        # An instant means now.
        position = int(after) if after.isdigit() else len(self.events)
        if "Prefer" in request.headers and position >= len(self.events):
            self.waiting += 1
            try:
                await self.has_more.wait()
            finally:
                self.waiting -= 1
        found = self.events[position:]
        events = [
            {
                "id": f"e{position + number}",
                "type": "job.finished",
                "source": "s",
                "time": "2026-11-30T10:00:00Z",
                "sequence": position + number + 1,
                "data": {"jobId": job},
            }
            for number, job in enumerate(found)
        ]
        page = {"rows": 100, "count": len(events), "nextPageToken": str(position + len(events))}
        return httpx2.Response(200, json={"pagination": page, "result": events})


@pytest.fixture
def feed(apis: Apis) -> Feed:
    made = Feed()
    apis.feed = made
    return made


@asynccontextmanager
async def follow(site: Site, **headers: str) -> AsyncIterator[asyncio.Queue[str]]:
    """Receive frames within the block; the end of the stream is an empty one."""
    frames: asyncio.Queue[str] = asyncio.Queue()
    async with site.client.get("/portal/live", headers=headers) as response:
        assert response.headers["Content-Type"] == "text/event-stream"

        async def read() -> None:
            text = b""
            async for chunk in response.content.iter_any():
                text += chunk
                *whole, text = text.split(b"\n\n")
                for frame in whole:
                    frames.put_nowait(frame.decode())
            frames.put_nowait("")

        reading = asyncio.create_task(read())
        assert (await frames.get()).startswith("retry:")
        try:
            yield frames
        finally:
            reading.cancel()


async def next_frame(frames: asyncio.Queue[str]) -> str:
    async with asyncio.timeout(15):
        return await frames.get()


def job_of(frame: str) -> str:
    return str(json.loads(frame.split("data: ")[1])["jobId"])


async def test_all_browsers_of_a_site_share_one_request_that_waits(signed_in: Site, feed: Feed) -> None:
    async with follow(signed_in) as first, follow(signed_in) as second:
        await until(lambda: feed.waiting == 1)
        feed.add("j1", "j2")
        for frames in (first, second):
            assert [job_of(await next_frame(frames)) for _ in range(2)] == ["j1", "j2"]
        await until(lambda: feed.waiting == 1)
        assert feed.requests == 2
    await until(lambda: feed.waiting == 0)


async def test_a_browser_that_comes_back_gets_what_it_has_missed_once(signed_in: Site, feed: Feed) -> None:
    async with follow(signed_in) as frames:
        await until(lambda: feed.waiting == 1)
        feed.add("j1")
        last_id = (await next_frame(frames)).split("\n")[0].removeprefix("id: ")
    feed.add("j2", "j3")
    async with follow(signed_in, **{"Last-Event-ID": last_id}) as frames:
        assert [job_of(await next_frame(frames)) for _ in range(2)] == ["j2", "j3"]
        await until(lambda: feed.waiting == 1)
        feed.add("j4")
        assert job_of(await next_frame(frames)) == "j4"


async def test_only_the_last_event_of_a_page_has_an_id(signed_in: Site, feed: Feed) -> None:
    """Breaks: a browser that was cut off within a page would go on behind it."""
    async with follow(signed_in) as frames:
        await until(lambda: feed.waiting == 1)
        feed.add("j1", "j2", "j3")
        received = [await next_frame(frames) for _ in range(3)]
    assert [frame.startswith("id: ") for frame in received] == [False, False, True]


async def test_a_browser_that_reads_too_slowly_ends_and_misses_nothing(
    signed_in: Site, feed: Feed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_feed, "MAX_QUEUED", 2)
    async with follow(signed_in) as frames:
        await until(lambda: feed.waiting == 1)
        feed.add("j1")
        last_id = (await next_frame(frames)).split("\n")[0].removeprefix("id: ")
        feed.add("j2", "j3", "j4", "j5")
        assert await next_frame(frames) == ""
    async with follow(signed_in, **{"Last-Event-ID": last_id}) as frames:
        assert [job_of(await next_frame(frames)) for _ in range(4)] == ["j2", "j3", "j4", "j5"]


async def test_signing_out_ends_the_streams_of_all_tabs(signed_in: Site, feed: Feed) -> None:
    token = await signed_in.form_token("/portal/jobs")
    async with follow(signed_in) as first, follow(signed_in) as second:
        await until(lambda: feed.waiting == 1)
        async with await signed_in.post("/portal/sign-out", {"form_token": token}):
            pass
        for frames in (first, second):
            assert "event: signed-out" in await next_frame(frames)
            assert await next_frame(frames) == ""


async def test_signing_out_ends_the_streams_on_other_replicas(signed_in: Site, open_site: OpenSite, feed: Feed) -> None:
    del feed
    elsewhere = await open_site()
    elsewhere.set_cookie("portal-session", signed_in.cookies["portal-session"])
    token = await signed_in.form_token("/portal/jobs")
    async with follow(elsewhere) as frames:
        async with await signed_in.post("/portal/sign-out", {"form_token": token}):
            pass
        assert "event: signed-out" in await next_frame(frames)


async def test_who_is_not_signed_in_gets_no_stream_and_does_not_come_back(site: Site) -> None:
    async with await site.get("/portal/live") as response:
        assert response.status == 204


async def test_there_are_only_so_many_streams(open_site: OpenSite, feed: Feed) -> None:
    site = await open_site(portal_max_streams=1)
    async with await site.sign_in():
        pass
    async with follow(site):
        await until(lambda: feed.waiting == 1)
        async with await site.get("/portal/live") as response:
            assert response.status == 503


async def test_streams_end_when_the_process_stops(signed_in: Site, feed: Feed) -> None:
    async with follow(signed_in) as frames:
        await until(lambda: feed.waiting == 1)
        await signed_in.components.live.stop()
        assert await next_frame(frames) == ""
    assert feed.waiting == 0
