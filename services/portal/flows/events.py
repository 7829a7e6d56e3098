"""The feed of a site, and the endpoints that get it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.portal.domain.events import (
    DeliveryView,
    EndpointView,
    EventView,
    describe_delivery,
    describe_endpoint,
    describe_event,
)
from services.portal.ports import EventsApi

EVENTS_PER_PAGE = 50
DELIVERIES_PER_PAGE = 50
# The feed is read forwards only: the newest events are sought in the shortest of these that has enough. Those of a
# group are read at the same time: most sites have few events a minute, and a reader waits for each request.
WINDOWS = (
    (timedelta(minutes=1),),
    (timedelta(minutes=10), timedelta(hours=1)),
    (timedelta(days=1), timedelta(days=31)),
)
READ_ROWS = 1_000
# A list need not be complete, but there soon.
MAX_LISTED_PAGES, MAX_READ_PAGES = 3, 5
# The time of an event is that of what happened; it is in the feed a little later.
MAX_RECORDING_DELAY = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class EventList:
    """Events, newest first; `is_complete` is False if some between them were not read."""

    events: list[EventView]
    is_complete: bool


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """One page of deliveries."""

    deliveries: list[DeliveryView]
    next_page_token: str | None


async def list_newest_events(events: EventsApi, types: Sequence[str], *, now: datetime) -> EventList:
    """Return the newest events of these types, or of all."""
    found = EventList([], is_complete=True)
    for group in WINDOWS:
        for found in await asyncio.gather(*(_list_since(events, types, now - window) for window in group)):
            if len(found.events) >= EVENTS_PER_PAGE or not found.is_complete:
                return found
    return found


async def _list_since(events: EventsApi, types: Sequence[str], since: datetime) -> EventList:
    newest: deque[EventView] = deque(maxlen=EVENTS_PER_PAGE)
    cursor = since.isoformat()
    for _ in range(MAX_LISTED_PAGES):
        page = await events.page(after=cursor, types=types, rows=READ_ROWS)
        newest.extend(describe_event(event) for event in page.result[-EVENTS_PER_PAGE:])
        if len(page.result) < READ_ROWS:
            return EventList(list(reversed(newest)), is_complete=True)
        cursor = page.pagination.next_page_token
    return EventList(list(reversed(newest)), is_complete=False)


async def find_event(events: EventsApi, event_id: str, *, near: datetime) -> EventView | None:
    """Return an event that happened at this time; None if it is no longer kept, or never was."""
    cursor = near.isoformat()
    for _ in range(MAX_READ_PAGES):
        page = await events.page(after=cursor, rows=READ_ROWS)
        for event in page.result:
            if event.id == event_id:
                return describe_event(event)
        is_past = bool(page.result) and page.result[-1].time > near + MAX_RECORDING_DELAY
        if len(page.result) < READ_ROWS or is_past:
            return None
        cursor = page.pagination.next_page_token
    return None


async def list_endpoints(events: EventsApi) -> list[EndpointView]:
    """Return all endpoints, the oldest first."""
    return [describe_endpoint(endpoint) for endpoint in await events.endpoints()]


async def list_deliveries(events: EventsApi, endpoint_id: str, *, page_token: str | None) -> DeliveryPage:
    """Return a page of what was sent to an endpoint."""
    page = await events.deliveries_page(endpoint_id, rows=DELIVERIES_PER_PAGE, page_token=page_token)
    return DeliveryPage([describe_delivery(each) for each in page.items], page.next_page_token)
