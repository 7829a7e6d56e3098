"""Live changes: the feed of each site that browsers look at, followed once, however many they are.

The events API holds each request until something happens, so nothing is polled. A browser that comes back names the
last event that it got, and gets what it has missed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from services.chassis.runtime.background import cancel_and_wait
from services.chassis.runtime.logs import logger
from services.portal import metrics
from services.portal.adapters.session_notifier import SessionNotifier
from services.portal.domain.live import ENDED, SESSION_CHANGED, LiveEvent
from services.portal.domain.session import Session
from tillstream import AsyncClient, NotAllowedError, TillstreamError
from tillstream.models import FeedPage

EVENTS_SCOPE = "events:read"
WAIT_S = 25
RETRY_S = 3.0
# The clocks may differ; what is sent twice makes a page refresh once more, and nothing else.
OVERLAP = timedelta(seconds=5)
MAX_QUEUED = 200
CATCH_UP_ROWS = 100
MAX_CATCH_UP_PAGES = 5
_LOG = logger(__name__)


class TooManyStreamsError(Exception):
    """As many browsers follow live changes as may."""


class _Subscriber:
    def __init__(self, session: Session) -> None:
        self.session = session
        self.queue: asyncio.Queue[LiveEvent] = asyncio.Queue(MAX_QUEUED)
        # Its client may no longer read the feed.
        self.is_refused = False

    def put(self, event: LiveEvent) -> None:
        if self.queue.full():
            # It reads too slowly: it ends, comes back, and gets all of this.
            while not self.queue.empty():
                self.queue.get_nowait()
            event = ENDED
        self.queue.put_nowait(event)


class LiveFeed:
    """Follows feeds for as long as somebody looks."""

    def __init__(self, client_of: Callable[[Session], AsyncClient], notifier: SessionNotifier) -> None:
        """`notifier` bounds the streams, and tells which sessions were written."""
        self._client_of = client_of
        self._notifier = notifier
        notifier.listeners.append(self._on_session_written)
        self._subscribers: dict[int, list[_Subscriber]] = {}
        self._followers: dict[int, asyncio.Task[None]] = {}
        self._is_stopping = False

    async def start(self) -> None:
        """Do nothing: feeds are followed when somebody looks."""

    async def stop(self) -> None:
        """End all streams: browsers come back to another replica."""
        self._is_stopping = True
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                subscriber.put(ENDED)
        for task in list(self._followers.values()):
            await cancel_and_wait(task)

    def _on_session_written(self, session_id: str | None) -> None:
        """Have streams look whether their session has ended; None means any session."""
        for subscribers in self._subscribers.values():
            for subscriber in subscribers:
                if session_id in (None, subscriber.session.id):
                    subscriber.put(SESSION_CHANGED)

    @asynccontextmanager
    async def subscribe(self, session: Session) -> AsyncIterator["asyncio.Queue[LiveEvent]"]:
        """Receive events within the block; raises `TooManyStreamsError`."""
        async with self._notifier.register(session.id) as waiter:
            if waiter is None or self._is_stopping:
                raise TooManyStreamsError
            subscriber = _Subscriber(session)
            self._add(session.grant.site, subscriber)
            try:
                yield subscriber.queue
            finally:
                self._remove(session.grant.site, subscriber)

    def _add(self, site: int, subscriber: _Subscriber) -> None:
        self._subscribers.setdefault(site, []).append(subscriber)
        if subscriber.session.may(EVENTS_SCOPE) and site not in self._followers:
            self._followers[site] = asyncio.create_task(self._follow(site))
            metrics.LIVE_FOLLOWERS.set(len(self._followers))

    def _remove(self, site: int, subscriber: _Subscriber) -> None:
        self._subscribers[site].remove(subscriber)
        if not self._subscribers[site]:
            del self._subscribers[site]
            follower = self._followers.pop(site, None)
            if follower is not None:
                follower.cancel()
            metrics.LIVE_FOLLOWERS.set(len(self._followers))

    async def catch_up(self, session: Session, last_id: str) -> AsyncIterator[LiveEvent]:
        """Yield what has happened since an event; nothing if that is unknown: the page is fresh then anyway."""
        if not session.may(EVENTS_SCOPE):
            return
        client, after = self._client_of(session), last_id
        for _ in range(MAX_CATCH_UP_PAGES):
            try:
                page = await client.events.page(after=after, rows=CATCH_UP_ROWS)
            except TillstreamError:
                return
            for event in _to_live(page):
                yield event
            if len(page.result) < CATCH_UP_ROWS:
                return
            after = page.pagination.next_page_token

    async def _follow(self, site: int) -> None:
        after = (datetime.now(UTC) - OVERLAP).isoformat()
        while subscribers := self._subscribers.get(site):
            readers = [each for each in subscribers if each.session.may(EVENTS_SCOPE) and not each.is_refused]
            if not readers:
                await asyncio.sleep(RETRY_S)
                continue
            try:
                page = await self._client_of(readers[0].session).events.page(after=after, wait_s=WAIT_S)
            except NotAllowedError:
                # Its secret was replaced, or its client deleted; others may have signed in since.
                readers[0].is_refused = True
                continue
            except TillstreamError as error:
                _LOG.warning("live feed failed, will retry", error=type(error).__name__)
                await asyncio.sleep(RETRY_S)
                continue
            except Exception:  # noqa: BLE001 - one defect must not end the live pages of a site
                _LOG.exception("live feed failed")
                await asyncio.sleep(RETRY_S)
                continue
            after = page.pagination.next_page_token
            for event in _to_live(page):
                for subscriber in self._subscribers.get(site, ()):
                    if subscriber.session.may(EVENTS_SCOPE):
                        subscriber.put(event)


def _to_live(page: FeedPage) -> Iterator[LiveEvent]:
    """Yield the events of a page; the cursor behind the page is that of its last event."""
    last = len(page.result) - 1
    for number, event in enumerate(page.result):
        cursor = page.pagination.next_page_token if number == last else ""
        yield LiveEvent(cursor, event.sequence, event.type, msgspec.json.encode(event.data))
