"""The ledger: orders by user with their returns, and sums of sales."""

from collections.abc import AsyncIterator, Sequence
from datetime import date, datetime
from urllib.parse import quote

from msgspec import Struct

from tillstream._async.transport import AsyncTransport
from tillstream.http import LEDGER, ItemPage, decode
from tillstream.models import Entry, Erasure, Mode, Report

MEDIA_TYPES = {
    "csv": "text/csv",
    "ndjson": "application/x-ndjson",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


class _Entries(Struct):
    result: list[Entry]


class AsyncLedger:
    """`client.ledger`."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport
        self._path = f"/{quote(transport.credentials.api_key, safe='')}"

    async def user_orders(
        self,
        user_id: str,
        *,
        since: datetime | date | None = None,
        until: datetime | date | None = None,
        channel: str | None = None,
        mode: Mode | None = None,
        currency: str | None = None,
        rows: int | None = None,
    ) -> AsyncIterator[Entry]:
        """Yield the orders of a user with their returns, newest first."""
        filters = {"channel": channel, "mode": mode, "currency": currency, "rows": rows}
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        path = f"{self._path}/users/{quote(user_id, safe='')}/orders"
        async for entry in self._transport.pages(LEDGER, path, Entry, **filters, **bounds):
            yield entry

    async def user_orders_page(
        self, user_id: str, *, rows: int | None = None, page_token: str | None = None
    ) -> ItemPage[Entry]:
        """Return one page of the orders of a user with their returns, newest first."""
        path = f"{self._path}/users/{quote(user_id, safe='')}/orders"
        return await self._transport.page(LEDGER, path, Entry, page_token=page_token, rows=rows)

    async def order(self, order_id: str, *, channel: str | None = None) -> Sequence[Entry]:
        """Return an order with its returns: one of each channel that has an order with this id."""
        path = f"{self._path}/orders/{quote(order_id, safe='')}"
        return (await self._transport.get(LEDGER, path, _Entries, channel=channel)).result

    async def report(
        self,
        *,
        by: Sequence[str] = ("day", "channel"),
        since: date | None = None,
        until: date | None = None,
        currency: str | None = None,
        channel: str | None = None,
        mode: Mode | None = None,
        zone: str | None = None,
    ) -> Report:
        """Return sums of sales by these dimensions: day, month, channel, mode, currency, store."""
        params = _report_params(by, since, until) | _filters(currency, channel, mode) | {"zone": zone}
        return await self._transport.get(LEDGER, f"{self._path}/reports/sales", Report, **params)

    async def report_file(
        self,
        *,
        format: str,  # noqa: A002 - what users call it
        by: Sequence[str] = ("day", "channel"),
        since: date | None = None,
        until: date | None = None,
        currency: str | None = None,
        channel: str | None = None,
        mode: Mode | None = None,
        zone: str | None = None,
    ) -> bytes:
        """Return the report as a file: `csv` or `xlsx`."""
        params = _report_params(by, since, until) | _filters(currency, channel, mode) | {"zone": zone}
        headers = {"Accept": MEDIA_TYPES[format]}
        path = f"{self._path}/reports/sales"
        params |= {"format": format}
        return (await self._transport.request(LEDGER, "GET", path, params=params, headers=headers)).body

    async def export(
        self,
        *,
        since: date,
        until: date,
        format: str = "ndjson",  # noqa: A002 - what users call it
        after: str | None = None,
        currency: str | None = None,
        channel: str | None = None,
        mode: Mode | None = None,
    ) -> bytes:
        """Return all orders of these days as a file: `ndjson`, `csv` or `xlsx`."""
        params = _export_params(since, until, format, after) | _filters(currency, channel, mode)
        headers = {"Accept": MEDIA_TYPES[format]}
        path = f"{self._path}/exports/orders"
        return (await self._transport.request(LEDGER, "GET", path, params=params, headers=headers)).body

    def stream_export(
        self,
        *,
        since: date,
        until: date,
        format: str = "ndjson",  # noqa: A002 - what users call it
        after: str | None = None,
        currency: str | None = None,
        channel: str | None = None,
        mode: Mode | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield the file of `export` piece by piece; raises `UnreachableError` if the connection is lost within it."""
        params = _export_params(since, until, format, after) | _filters(currency, channel, mode)
        headers = {"Accept": MEDIA_TYPES[format]}
        return self._transport.stream(LEDGER, f"{self._path}/exports/orders", params=params, headers=headers)

    async def erase_user(self, user_id: str) -> Erasure:
        """Erase what names a user (scope `sales:erase`); the receipt tells when it is done."""
        path = f"{self._path}/users/{quote(user_id, safe='')}"
        return decode((await self._transport.request(LEDGER, "DELETE", path)).body, Erasure)

    async def erasure(self, receipt_id: str) -> Erasure:
        """Return how far an erasure is."""
        return await self._transport.get(LEDGER, f"{self._path}/erasures/{quote(receipt_id, safe='')}", Erasure)


def _report_params(by: Sequence[str], since: date | None, until: date | None) -> dict[str, str | None]:
    return {
        "by": ",".join(by),
        "from": since.isoformat() if since else None,
        "to": until.isoformat() if until else None,
    }


def _export_params(since: date, until: date, format_: str, after: str | None) -> dict[str, str | None]:
    return {"from": since.isoformat(), "to": until.isoformat(), "after": after, "format": format_}


def _filters(currency: str | None, channel: str | None, mode: Mode | None) -> dict[str, str | None]:
    return {"currency": currency, "channel": channel, "mode": mode}
