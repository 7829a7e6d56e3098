"""Serves an API's OpenAPI document."""

from pathlib import Path

from aiohttp import web


def openapi_route(path: str, document: Path) -> web.RouteDef:
    """Return a route that serves `document`, which is read once, now."""
    content = document.read_bytes()

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=content, content_type="application/yaml", charset="utf-8")

    return web.get(path, handler)
