"""The stream of live changes: one for each browser, shared by its tabs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

from services.chassis.runtime.errors import UnavailableError
from services.portal.domain.live import ENDED, SESSION_CHANGED, LiveEvent, to_frame
from services.portal.domain.session import MINUTE_US, Session
from services.portal.flows.sign_in import find_session
from services.portal.http.pages import Pages
from services.portal.http.rendering import SECURITY_HEADERS
from services.portal.http.visits import PageError

PATH = "/portal/live"
RECONNECT_MS = 3_000
HEARTBEAT_S = 20.0
MAX_ID_CHARACTERS = 512
HEARTBEAT = LiveEvent("", -1, "heartbeat", b"")
SIGNED_OUT = b"event: signed-out\ndata: {}\n\n"


class Changes(Protocol):
    """Where live changes come from."""

    def subscribe(self, session: Session) -> AbstractAsyncContextManager["asyncio.Queue[LiveEvent]"]:
        """Receive events within the block."""

    def catch_up(self, session: Session, last_id: str) -> AsyncIterator[LiveEvent]:
        """Yield what has happened since an event."""


class LivePages:
    """The stream."""

    def __init__(
        self,
        pages: Pages,
        changes: Changes,
        *,
        too_many: type[Exception],
        now_us: Callable[[], int],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._pages = pages
        self._changes = changes
        self._too_many = too_many
        self._now_us = now_us
        self._heartbeat_s = heartbeat_s

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [web.get(PATH, self._pages.wrap(self.stream))]

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Events until the session or the process ends."""
        session = await self._find(request)
        if session is None:
            # A browser does not come back after this status.
            return web.Response(status=204)
        try:
            async with self._changes.subscribe(session) as queue:
                return await self._stream(request, session, queue)
        except self._too_many:
            raise PageError(503, "Too many live pages", "Reload the page to see changes.") from None

    async def _stream(
        self, request: web.Request, session: Session, queue: "asyncio.Queue[LiveEvent]"
    ) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=SECURITY_HEADERS | headers)
        await response.prepare(request)
        try:
            await response.write(f"retry: {RECONNECT_MS}\n\n".encode())
            seen = 0
            last_id = request.headers.get("Last-Event-ID", "")
            if 0 < len(last_id) <= MAX_ID_CHARACTERS:
                async for event in self._changes.catch_up(session, last_id):
                    seen = event.sequence
                    await response.write(to_frame(event))
            await self._forward(request, response, session, queue, seen)
            await response.write_eof()
        except (ConnectionError, UnavailableError):
            # The browser comes back.
            pass
        return response

    async def _forward(
        self,
        request: web.Request,
        response: web.StreamResponse,
        session: Session,
        queue: "asyncio.Queue[LiveEvent]",
        seen: int,
    ) -> None:
        ends_us = session.ends_us
        while True:
            left_s = (ends_us - self._now_us()) / MINUTE_US * 60
            try:
                async with asyncio.timeout(max(min(self._heartbeat_s, left_s), 0.0)):
                    event = await queue.get()
            except TimeoutError:
                # Another tab may have used the session until its end.
                event = HEARTBEAT if self._now_us() < ends_us else SESSION_CHANGED
            if event is ENDED:
                return
            if event is SESSION_CHANGED:
                found = await self._find(request)
                if found is None:
                    await response.write(SIGNED_OUT)
                    return
                ends_us = found.ends_us
            elif event is HEARTBEAT:
                await response.write(b": \n\n")
            elif event.sequence > seen:
                await response.write(to_frame(event))

    async def _find(self, request: web.Request) -> Session | None:
        cookie = self._pages.cookies.get(request, self._pages.cookies.session)
        # A page that is only open does not keep a session alive.
        return None if cookie is None else await find_session(cookie, self._pages.sessions, is_used=False)
