"""Files that are sent piece by piece, as they come from an API."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from services.chassis.runtime.logs import logger
from services.portal.http.rendering import SECURITY_HEADERS
from services.portal.http.visits import Visit
from tillstream import TillstreamError

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}
_LOG = logger(__name__)


def file_headers(name: str) -> dict[str, str]:
    """Return the headers of a file to be saved; its format is that of its name."""
    return SECURITY_HEADERS | {
        "Cache-Control": "no-store",
        "Content-Type": MEDIA_TYPES[name.rpartition(".")[2]],
        "Content-Disposition": f'attachment; filename="{name}"',
    }


async def send_file(visit: Visit, name: str, pieces: AsyncGenerator[bytes]) -> web.StreamResponse:
    """Send a file. An error before the first piece is raised, to be shown as a page; a later one breaks it off."""
    async with aclosing(pieces) as body:
        first = await anext(body, b"")
        response = web.StreamResponse(headers=file_headers(name))
        await response.prepare(visit.request)
        try:
            await response.write(first)
            async for piece in body:
                await response.write(piece)
        except TillstreamError as error:
            # The browser must not take what it has for the whole.
            _LOG.warning("download broken off", error=type(error).__name__)
            if visit.request.transport is not None:
                visit.request.transport.abort()
            return response
    await response.write_eof()
    return response
