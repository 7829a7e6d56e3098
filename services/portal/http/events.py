"""The feed of events: the newest ones, and one of them."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from aiohttp import web

from services.portal.domain.events import TYPES
from services.portal.flows import events as flow
from services.portal.http.pages import Pages
from services.portal.http.visits import Visit, not_found

BASE, SCOPE, CHANGE_SCOPE = "/portal/events", "events:read", "webhooks:write"
BACK = ("Events", BASE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EventPages:
    """The pages of the feed."""

    def __init__(self, pages: Pages, *, now_us: Callable[[], int]) -> None:
        self._pages = pages
        self._now_us = now_us

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(BASE, self.list, scope=SCOPE),
            self._pages.get(BASE + "/feed/{event}", self.show, scope=SCOPE),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """The newest events, and the endpoints that get them."""
        chosen = visit.query.get("type", "")
        types = [chosen] if chosen in TYPES else []
        now = _EPOCH + timedelta(microseconds=self._now_us())
        return self._pages.page(
            visit,
            "events.html",
            feed=await flow.list_newest_events(visit.client.events, types, now=now),
            endpoints=await flow.list_endpoints(visit.client.events),
            chosen=chosen if types else "",
            types=list(TYPES.items()),
            may_change=visit.session.may(CHANGE_SCOPE),
        )

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One event. Its address has its time: the feed is read from there."""
        try:
            near = datetime.fromisoformat(visit.query.get("at", ""))
        except ValueError:
            raise not_found("event", back=BACK) from None
        if near.tzinfo is None:
            raise not_found("event", back=BACK)
        event = await flow.find_event(visit.client.events, visit.request.match_info["event"], near=near)
        if event is None:
            raise not_found("event", back=BACK)
        return self._pages.page(visit, "event.html", event=event, back=BACK)
