"""Static files, and the page of an address that leads nowhere."""

from collections.abc import Sequence

from aiohttp import web

from services.portal.http.pages import Pages
from services.portal.http.static import BASE, StaticFiles


class NotFoundPages:
    """The last routes."""

    def __init__(self, pages: Pages, static: StaticFiles) -> None:
        self._pages = pages
        self._static = static

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            web.get(BASE + "/{version}/{name}", self._pages.wrap(self._static.serve)),
            web.route("*", "/portal/{path:.*}", self._pages.wrap(_not_found)),
        ]


async def _not_found(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound
