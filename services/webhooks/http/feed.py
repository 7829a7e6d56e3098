"""Handlers of the feed: pages, long polling and streams of server-sent events."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from functools import partial
from pathlib import Path

import msgspec
from aiohttp import web

from services.chassis.http.negotiation import negotiate
from services.chassis.http.openapi import openapi_route
from services.chassis.http.page_limits import PageLimits
from services.chassis.http.paging import pagination
from services.chassis.http.responses import REQUEST_ID
from services.chassis.runtime.errors import Problem, UnavailableError
from services.chassis.runtime.time_zones import load_time_zone
from services.chassis.security.authentication import Caller
from services.values.sites import Site
from services.webhooks import metrics
from services.webhooks.domain.event import FeedEvent, FeedQuery
from services.webhooks.flows import read_feed
from services.webhooks.http import params
from services.webhooks.http.authentication import Authenticator

BASE = "/events/v1/{apiKey}"
READ = "events:read"
JSON, EVENT_STREAM = "application/json", "text/event-stream"
HEARTBEAT_S = 15.0
# How long a client that lost its stream waits before it connects again.
RECONNECT_MS = 2_000
STREAM_ROWS = 200
# Events that are rendered between two turns of the event loop; signing their cursors takes a fraction of a millisecond.
FRAMES_PER_TURN = 25
# Less than may wait: one client must not keep all others from streaming.
MAX_STREAMS_PER_CLIENT = 1_000

_encode = msgspec.json.Encoder().encode


async def render_frames(events: Sequence[FeedEvent], render: Callable[[FeedEvent], bytes]) -> bytes:
    """The events as a stream has them. Many streams of a long feed wait for nothing but each other: others run."""
    frames: list[bytes] = []
    for start in range(0, len(events), FRAMES_PER_TURN):
        frames += map(render, events[start : start + FRAMES_PER_TURN])
        await asyncio.sleep(0)
    return b"".join(frames)


class FeedApi:
    """Handlers of the feed; `routes` binds them to their paths."""

    def __init__(
        self,
        *,
        deps: read_feed.Deps,
        authenticator: Authenticator,
        cursors: params.Cursors,
        page_limits: PageLimits,
        openapi: Path,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._deps = deps
        self._authenticator = authenticator
        self._cursors = cursors
        self._page_limits = page_limits
        self._streams: Counter[str] = Counter()
        self._openapi = openapi
        self._heartbeat_s = heartbeat_s

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes of the feed."""
        return [openapi_route("/events/openapi.yaml", self._openapi), web.get(BASE + "/events", self.events)]

    async def events(self, request: web.Request) -> web.StreamResponse:
        """A page of events, or a stream of them."""
        caller = await self._authenticator.authenticate(request, READ)
        site = caller.site.site
        is_stream = request.method == "GET" and negotiate(request, (JSON, EVENT_STREAM)) == EVENT_STREAM
        query = FeedQuery(
            site=site,
            rows=params.parse_rows(request.query),
            types=params.parse_types(request.query),
            after=await self._parse_after(request, caller.site, is_stream=is_stream),
        )
        if is_stream:
            with self._open_stream(caller.token.client_id):
                return await self._stream(request, query, caller.token.client_id)
        wait_s = params.parse_wait(request.headers)
        body = await self._read_page(caller, query, wait_s or 0.0)
        headers = {"Cache-Control": "no-store", "Vary": "Accept"}
        if wait_s is not None:
            headers["Preference-Applied"] = "wait"
        return self._page_limits.response(
            caller.token.client_id, body, headers=headers, content_type=JSON, charset="utf-8"
        )

    async def _read_page(self, caller: Caller, query: FeedQuery, wait_s: float) -> bytes:
        """The body of a page. Its client waits for events without a turn to have a page rendered."""
        is_large = query.rows > params.DEFAULT_ROWS
        async with self._page_limits.rendering(caller.token.client_id, is_large=is_large):
            events = await read_feed.read_page(query, self._deps)
            if events or wait_s <= 0:
                return self._render(query, events)
        return self._render(query, await read_feed.wait_for_page(query, self._deps, timeout_s=wait_s))

    def _render(self, query: FeedQuery, events: Sequence[FeedEvent]) -> bytes:
        cursor = self._cursors.encode(query.site, events[-1].sequence if events else query.after)
        head = _encode(pagination(query.rows, len(events), cursor)).decode()
        return f'{{"pagination":{head},"result":[{",".join([event.json for event in events])}]}}'.encode()

    @contextmanager
    def _open_stream(self, client_id: str) -> Iterator[None]:
        """Count a stream during the block; raises a 429 beyond the client's limit."""
        if self._streams[client_id] >= MAX_STREAMS_PER_CLIENT:
            metrics.RATE_LIMITED.inc()
            detail = f"a client may have {MAX_STREAMS_PER_CLIENT} streams at a time"
            raise Problem(429, "RATE_LIMITED", detail, headers={"Retry-After": "5"})
        self._streams[client_id] += 1
        try:
            yield
        finally:
            self._streams[client_id] -= 1
            if not self._streams[client_id]:
                del self._streams[client_id]

    async def _parse_after(self, request: web.Request, site: Site, *, is_stream: bool) -> int:
        """The sequence to continue after; a stream that is opened again names the last event that arrived."""
        text = request.query.get("after")
        if is_stream:
            text = request.headers.get("Last-Event-ID") or text
        if text is None:
            return 0
        at_us = params.parse_after_us(text, zone=load_time_zone(site.time_zone))
        if at_us is None:
            return self._cursors.decode(site.site, text)
        return await self._deps.feed.find_position(site.site, at_us)

    async def _stream(self, request: web.Request, query: FeedQuery, client_id: str) -> web.StreamResponse:
        self._page_limits.check_unsent(client_id)
        query = msgspec.structs.replace(query, rows=STREAM_ROWS)
        response = web.StreamResponse(
            headers={
                "Content-Type": EVENT_STREAM,
                "Cache-Control": "no-store",
                "Vary": "Accept",
                # A buffering proxy would withhold events.
                "X-Accel-Buffering": "no",
                "X-Request-Id": request[REQUEST_ID],
            }
        )
        async with aclosing(read_feed.follow(query, self._deps, heartbeat_s=self._heartbeat_s)) as pages:
            try:
                await anext(pages)
            except read_feed.TooManyReadersError:
                raise Problem(
                    503, "TOO_MANY_READERS", "too many readers wait for events", headers={"Retry-After": "5"}
                ) from None
            await response.prepare(request)
            await response.write(f"retry: {RECONNECT_MS}\n\n".encode())
            try:
                async for events in pages:
                    if not await self._authenticator.is_still_authorized(request, READ):
                        break
                    self._page_limits.check_unsent(client_id)
                    async with self._page_limits.turn(client_id):
                        frames = await render_frames(events, partial(self._frame, query.site)) or b": \n\n"
                    async with self._page_limits.sending(client_id, len(frames), request):
                        await response.write(frames)
            except (UnavailableError, Problem):
                # The client connects again, and is told then.
                pass
            except ConnectionError:
                return response
        await response.write_eof()
        return response

    def _frame(self, site: int, event: FeedEvent) -> bytes:
        cursor = self._cursors.encode(site, event.sequence)
        return f"id: {cursor}\nevent: {event.type}\ndata: {event.json}\n\n".encode()
