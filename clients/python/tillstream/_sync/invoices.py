"""Invoices and credit notes."""

from collections.abc import Iterator
from datetime import date
from urllib.parse import quote

from tillstream._sync.transport import Transport
from tillstream.http import FULFILMENT, ItemPage
from tillstream.models import Invoice

MEDIA_TYPES = {"pdf": "application/pdf", "html": "text/html", "json": "application/json"}


class Invoices:
    """`client.invoices`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, *, since: date | None = None, until: date | None = None, rows: int | None = None
    ) -> Iterator[Invoice]:
        """Yield invoices and credit notes of these business days, newest first."""
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        for invoice in self._transport.pages(FULFILMENT, "/invoices", Invoice, rows=rows, **bounds):
            yield invoice

    def list_page(
        self,
        *,
        since: date | None = None,
        until: date | None = None,
        rows: int | None = None,
        page_token: str | None = None,
    ) -> ItemPage[Invoice]:
        """Return one page of invoices and credit notes, newest first; its token is good for the same days only."""
        bounds = {"from": since and since.isoformat(), "to": until and until.isoformat()}
        return self._transport.page(FULFILMENT, "/invoices", Invoice, page_token=page_token, rows=rows, **bounds)

    def get(self, invoice_id: str) -> Invoice:
        """Return an invoice."""
        return self._transport.get(FULFILMENT, f"/invoices/{quote(invoice_id, safe='')}", Invoice)

    def download(self, invoice_id: str, *, format: str = "pdf") -> bytes:  # noqa: A002 - what users call it
        """Return the invoice as a document: `pdf`, `html` or `json`."""
        headers = {"Accept": MEDIA_TYPES[format]}
        path = f"/invoices/{quote(invoice_id, safe='')}"
        return (self._transport.request(FULFILMENT, "GET", path, headers=headers)).body
