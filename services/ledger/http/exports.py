"""Streams orders as NDJSON, CSV or XLSX."""

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing

from aiohttp import web
from msgspec.structs import replace

from services.chassis.http.page_limits import Rendering
from services.chassis.http.responses import REQUEST_ID
from services.chassis.runtime.errors import Problem
from services.ledger import metrics
from services.ledger.domain.listing import EntryQuery, ListedEntry
from services.ledger.http import params, responses
from services.ledger.http.tables import CsvWriter, TableWriter, XlsxWriter
from services.ledger.ports import EntryReader

# Rows, and lines of their orders and returns, that are rendered between two turns of the event loop.
ROWS_PER_TURN, LINES_PER_TURN = 50, 500
SEND_TIMEOUT_S = 60.0

Turn = Callable[[], AbstractAsyncContextManager[Rendering]]
_NAMES = {params.NDJSON: "ndjson", params.CSV: "csv", params.XLSX: "xlsx"}


class NdjsonWriter:
    """Entries as JSON, one a line."""

    def __init__(self, site_key: Callable[[int], bytes]) -> None:
        self._site_key = site_key

    def lines(self, entries: Sequence[ListedEntry]) -> bytes:
        """Return the lines of these entries."""
        return b"".join(
            responses.encode(
                responses.entry_members(each.entry, each.key, self._site_key) | {"cursor": encode_cursor(each.position)}
            )
            + b"\n"
            for each in entries
        )


async def stream_orders(
    request: web.Request, query: EntryQuery, entries: EntryReader, site_key: Callable[[int], bytes], turn: Turn
) -> web.StreamResponse:
    """Send the entries that match, oldest first; `after` is the cursor of the last row that the caller has.

    Each batch is rendered in a `turn` of the client.
    """
    media_type = params.parse_media_type(request, tuple(_NAMES))
    after = request.query.get("after")
    if after is not None:
        query = replace(query, after=decode_cursor(after))
    response = web.StreamResponse(
        headers={
            "Cache-Control": "private, no-cache",
            "Content-Disposition": f'attachment; filename="orders.{_NAMES[media_type]}"',
            "Vary": "Accept",
            "X-Request-Id": request[REQUEST_ID],
        }
    )
    response.content_type = media_type
    if media_type != params.XLSX:
        response.charset = "utf-8"
    async with aclosing(entries.iterate_oldest(query)) as batches:
        # A store that does not respond is still answered with a 503.
        first: Sequence[ListedEntry] = await anext(batches, [])
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        async for piece in _render(_chain(first, batches), media_type, site_key, turn):
            await _send(request, response, piece)
    await response.write_eof()
    return response


def portions(batch: Sequence[ListedEntry]) -> Iterator[Sequence[ListedEntry]]:
    """Split a batch; a portion ends with the entry that reaches the number of rows or of lines."""
    start = lines = 0
    for end, each in enumerate(batch, 1):
        lines += each.entry.line_count
        if end - start >= ROWS_PER_TURN or lines >= LINES_PER_TURN or end == len(batch):
            yield batch[start:end]
            start, lines = end, 0


async def _chain(
    first: Sequence[ListedEntry], rest: AsyncIterator[Sequence[ListedEntry]]
) -> AsyncIterator[Sequence[ListedEntry]]:
    batch: Sequence[ListedEntry] = first
    while batch:
        yield batch
        batch = await anext(rest, [])


async def _render(
    batches: AsyncIterator[Sequence[ListedEntry]], media_type: str, site_key: Callable[[int], bytes], turn: Turn
) -> AsyncIterator[bytes]:
    rows = metrics.EXPORTED.labels(_NAMES[media_type])
    if media_type == params.NDJSON:
        lines = NdjsonWriter(site_key)
        async for batch in batches:
            yield await _render_batch(batch, lines.lines, turn)
            rows.inc(len(batch))
        return
    columns = responses.ORDER_COLUMNS
    numeric = responses.numeric_columns(columns)
    writer: TableWriter = (CsvWriter if media_type == params.CSV else XlsxWriter)(columns, numeric=numeric)
    yield writer.begin()
    async for batch in batches:
        yield await _render_batch(batch, lambda portion: writer.rows(map(_row, portion)), turn)
        rows.inc(len(batch))
    yield writer.end()


async def _render_batch(
    batch: Sequence[ListedEntry], render: Callable[[Sequence[ListedEntry]], bytes], turn: Turn
) -> bytes:
    """Render a batch in portions that do not hold the event loop for long."""
    pieces: list[bytes] = []
    async with turn() as rendering:
        for portion in portions(batch):
            pieces.append(render(portion))
            await asyncio.sleep(0)
        # No pause: an export alone would take twice as long.
        rendering.set_size(0)
    return b"".join(pieces)


def _row(listed: ListedEntry) -> responses.Row:
    return responses.order_row(listed.entry, listed.key, encode_cursor(listed.position))


async def _send(request: web.Request, response: web.StreamResponse, piece: bytes) -> None:
    """Send a piece; disconnect a client that does not read it."""
    if not piece:
        return
    transport = request.transport
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S):
            await response.write(piece)
    except TimeoutError:
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()
        raise ConnectionResetError("the client reads too slowly") from None


def encode_cursor(position: str) -> str:
    """Return the cursor of an entry."""
    return urlsafe_b64encode(position.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> str:
    """Return the position of a cursor; raises a 400."""
    try:
        position = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except ValueError:
        raise _invalid_cursor() from None
    if encode_cursor(position) != cursor or position.count("|") < 3 or not position[:18].isdecimal():
        raise _invalid_cursor()
    return position


def _invalid_cursor() -> Problem:
    return Problem(400, "INVALID_CURSOR", "after is the cursor of a row of an export")
