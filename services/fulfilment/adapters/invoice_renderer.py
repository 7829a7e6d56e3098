"""Invoices and credit notes as a page (Jinja2), as plain text, and as PDF (fpdf2)."""

import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from fpdf import FPDF, FontFace
from fpdf.enums import Align, TableBordersLayout, VAlign, XPos, YPos
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from services.fulfilment.domain.invoice import Invoice, InvoiceKind, InvoiceLine

ACCENT, DARK, GREY, PALE = (15, 118, 110), (31, 41, 55), (107, 114, 128), (240, 253, 250)
_TITLES = {InvoiceKind.INVOICE: "Invoice", InvoiceKind.CREDIT_NOTE: "Credit note"}
_COLUMNS = {
    InvoiceKind.INVOICE: ("Product", "Ordered", "Delivered", "Pending", "Cancelled", "Unit price", "Amount"),
    InvoiceKind.CREDIT_NOTE: ("Product", "Units", "Unit price", "Amount"),
}
_WIDTHS = {InvoiceKind.INVOICE: (62, 17, 19, 17, 20, 24, 27), InvoiceKind.CREDIT_NOTE: (96, 22, 32, 36)}
_NOTES = {
    InvoiceKind.INVOICE: "Pending units are charged."
    " Those that do not come are credited on the day on which that is certain.",
    InvoiceKind.CREDIT_NOTE: "Units of this purchase order that will not be delivered.",
}
CORE_FONT_ENCODING = "windows-1252"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Row(Struct, frozen=True):
    """A line as it is printed."""

    name: str
    sku: str
    cells: Sequence[str]


class TemplateInvoiceRenderer:
    """Prints invoices in the name of an issuer.

    `font` is a TrueType file; without it PDFs know Western Europe's letters only.
    """

    def __init__(self, *, issuer: str, font: str | None = None) -> None:
        self._issuer = issuer
        self._font = font
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
        )
        self._page = environment.get_template("invoice.html")

    def html(self, invoice: Invoice) -> str:
        """As a page that stands alone."""
        draft = invoice.draft
        return self._page.render(
            title=_TITLES[draft.kind],
            number=invoice.label,
            issuer=self._issuer,
            customer=draft.customer.name,
            site=draft.customer.site,
            facts=_facts(invoice),
            columns=_COLUMNS[draft.kind],
            rows=_rows(invoice),
            total=format_amount(draft.total),
            currency=draft.currency,
            note=_NOTES[draft.kind],
            purchase_order=draft.purchase_order,
            document=draft.id,
        )

    def text(self, invoice: Invoice) -> str:
        """As plain text."""
        draft = invoice.draft
        lines = [f"{line.charged:>6} x {line.name} ({line.sku}): {format_amount(line.amount)}" for line in draft.lines]
        head = [f"{_TITLES[draft.kind]} {invoice.label}", "", *(f"{name}: {value}" for name, value in _facts(invoice))]
        return "\n".join([*head, "", *lines, "", f"Total: {format_amount(draft.total)} {draft.currency}", ""])

    def pdf(self, invoice: Invoice) -> bytes:
        """As a PDF document, the same bytes each time."""
        sheet = _InvoicePdf(invoice, issuer=self._issuer, font=self._font)
        return sheet.printed()


class _InvoicePdf(FPDF):
    """One document on A4."""

    def __init__(self, invoice: Invoice, *, issuer: str, font: str | None) -> None:
        super().__init__(format="A4")
        self._invoice = invoice
        self._issuer = issuer
        self._letters = "helvetica"
        if font is not None:
            self._letters = "given"
            self.add_font("given", fname=font)
            self.add_font("given", style="B", fname=font)
        issued = _EPOCH + timedelta(microseconds=invoice.draft.issued_us)
        self.set_creation_date(issued)
        self.set_title(f"{_TITLES[invoice.draft.kind]} {invoice.label}")
        self.set_author(issuer)
        self.set_lang("en")
        # What PDF's own fonts can show: Western Europe's letters, and the euro sign.
        self.core_fonts_encoding = CORE_FONT_ENCODING
        self.set_margins(12, 16, 12)
        self.set_auto_page_break(True, margin=22)
        self.alias_nb_pages()

    def printed(self) -> bytes:
        """The bytes."""
        self.add_page()
        self._parties()
        self._lines()
        self._total()
        return bytes(self.output())

    def header(self) -> None:
        """Issuer and title, on every page."""
        self._write(self._issuer, size=17, colour=ACCENT, bold=True, width=95)
        title = f"{_TITLES[self._invoice.draft.kind]} {self._invoice.label}"
        self._write(title, size=15, bold=True, align=Align.R, last=True)
        self.set_draw_color(*ACCENT)
        self.set_line_width(0.7)
        self.line(self.l_margin, self.get_y() + 3, self.w - self.r_margin, self.get_y() + 3)
        self.ln(9)

    def footer(self) -> None:
        """What it is about, and the page's number."""
        draft = self._invoice.draft
        self.set_y(-17)
        about = f"Purchase order {draft.purchase_order}  -  Document {draft.id}"
        self._write(about, size=7, colour=GREY, width=150)
        self._write(f"Page {self.page_no()} of {{nb}}", size=8, colour=GREY, align=Align.R, last=True)

    def _parties(self) -> None:
        draft, top = self._invoice.draft, self.get_y()
        self._write("CUSTOMER", size=8, colour=GREY, last=True)
        self._cell(draft.customer.name, size=12, bold=True, width=95)
        self._write(f"Customer no. {draft.customer.site}", size=10, last=True)
        bottom = self.get_y()
        self.set_y(top)
        for name, value in _facts(self._invoice):
            self.set_x(118)
            self._write(name, size=10, colour=GREY, width=38)
            self._write(value, size=10, align=Align.R, last=True)
        self.set_y(max(bottom, self.get_y()) + 7)

    def _lines(self) -> None:
        kind = self._invoice.draft.kind
        self._use(size=8.5, colour=DARK)
        self.set_draw_color(209, 213, 219)
        self.set_line_width(0.2)
        count = len(_COLUMNS[kind])
        with self.table(
            col_widths=_WIDTHS[kind],
            text_align=(Align.L, *(Align.R,) * (count - 1)),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            line_height=4.4,
            padding=1.2,
            v_align=VAlign.T,
            headings_style=FontFace(emphasis="BOLD", color=ACCENT, fill_color=PALE),
        ) as table:
            table.row([self._fit(name) for name in _COLUMNS[kind]])
            for row in _rows(self._invoice):
                name = self._fit(row.name) if row.name == row.sku else f"{self._fit(row.name)}\n{self._fit(row.sku)}"
                table.row([name, *row.cells])

    def _total(self) -> None:
        draft = self._invoice.draft
        self.ln(4)
        self._write("Total", size=13, bold=True, width=60)
        self._write(f"{format_amount(draft.total)} {draft.currency}", size=13, bold=True, align=Align.R, last=True)
        self.ln(5)
        self._cell(_NOTES[draft.kind], size=8.5, colour=GREY, width=0)

    def _use(self, *, size: float, colour: tuple[int, int, int] = DARK, bold: bool = False) -> None:
        self.set_font(self._letters, style="B" if bold else "", size=size)
        self.set_text_color(*colour)

    def _write(
        self,
        text: str,
        *,
        size: float,
        colour: tuple[int, int, int] = DARK,
        bold: bool = False,
        width: float = 0,
        align: Align = Align.L,
        last: bool = False,
    ) -> None:
        self._use(size=size, colour=colour, bold=bold)
        x, y = (XPos.LMARGIN, YPos.NEXT) if last else (XPos.RIGHT, YPos.TOP)
        self.cell(width, size * 0.5, self._fit(text), align=align, new_x=x, new_y=y)

    def _cell(
        self, text: str, *, size: float, width: float, colour: tuple[int, int, int] = DARK, bold: bool = False
    ) -> None:
        self._use(size=size, colour=colour, bold=bold)
        self.multi_cell(width, size * 0.5, self._fit(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _fit(self, text: str) -> str:
        """The text in letters that the font has."""
        if self._letters != "helvetica":
            return text
        try:
            text.encode(CORE_FONT_ENCODING)
        except UnicodeEncodeError:
            return "".join(map(_simplified, text))
        return text


def _simplified(letter: str) -> str:
    for form in (letter, unicodedata.normalize("NFKD", letter)):
        if known := form.encode(CORE_FONT_ENCODING, "ignore"):
            return known.decode(CORE_FONT_ENCODING)
    return "?"


def format_amount(value: Decimal) -> str:
    """An amount with thousands apart, and as many decimals as it has, at least two."""
    text = f"{value.normalize():,f}"
    whole, _, fraction = text.partition(".")
    return f"{whole}.{fraction:0<2}"


def _facts(invoice: Invoice) -> list[tuple[str, str]]:
    draft = invoice.draft
    issued = _EPOCH + timedelta(microseconds=draft.issued_us)
    return [
        *([("Credit for invoice", draft.credited_invoice)] if draft.credited_invoice else []),
        ("Business date", draft.business_date),
        ("Issued", f"{issued:%Y-%m-%d %H:%M} UTC"),
        ("Transactions", f"{draft.transactions:,}"),
        ("Currency", draft.currency),
    ]


def _rows(invoice: Invoice) -> list[Row]:
    return [Row(line.name, line.sku, _cells(line, invoice.draft.kind)) for line in invoice.draft.lines]


def _cells(line: InvoiceLine, kind: InvoiceKind) -> Sequence[str]:
    prices = (format_amount(line.unit_price), format_amount(line.amount))
    if kind is InvoiceKind.CREDIT_NOTE:
        return (f"{-line.charged:,}", *prices)
    counts = (line.ordered, line.delivered, line.pending, line.cancelled)
    return (*(f"{count:,}" for count in counts), *prices)
