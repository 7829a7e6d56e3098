"""The home page: what needs attention."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from aiohttp import web

from services.portal.flows.failure_reports import FailureReports
from services.portal.flows.overview import get_overview
from services.portal.http.pages import HOME, Pages
from services.portal.http.visits import Visit

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HomePages:
    """The home page."""

    def __init__(self, pages: Pages, *, reports: FailureReports, now_us: Callable[[], int]) -> None:
        self._pages = pages
        self._reports = reports
        self._now_us = now_us

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            self._pages.get(HOME, self.show),
            *(web.get(path, self._pages.wrap(_to_home)) for path in ("/", "/portal")),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """What needs attention; of an empty site, how to begin."""
        if not visit.session.api_key:
            return self._pages.page(visit, "operator_home.html")
        now = _EPOCH + timedelta(microseconds=self._now_us())
        overview = await get_overview(visit.client, visit.session.grant, reports=self._reports, now=now)
        return self._pages.page(visit, "home.html", overview=overview)


async def _to_home(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPSeeOther(HOME)
