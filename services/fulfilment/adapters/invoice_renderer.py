"""Renders invoices and credit notes as HTML (Jinja2), plain text and PDF (fpdf2)."""

import unicodedata
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fpdf import FPDF, FontFace
from fpdf.enums import Align, TableBordersLayout, VAlign, XPos, YPos
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from msgspec import Struct

from services.fulfilment.domain.business_day import to_datetime
from services.fulfilment.domain.invoice import Invoice, InvoiceDraft, InvoiceKind
from services.fulfilment.domain.totals import LineTotals
from services.fulfilment.ports import InvoiceRenderer
from services.values import decimals

ACCENT, DARK, GREY, PALE = (15, 118, 110), (31, 41, 55), (107, 114, 128), (240, 253, 250)
_TITLES = {InvoiceKind.INVOICE: "Invoice", InvoiceKind.CREDIT_NOTE: "Credit note"}
_COLUMNS = {
    InvoiceKind.INVOICE: ("Product", "Ordered", "Delivered", "Pending", "Cancelled", "Unit price", "Amount"),
    InvoiceKind.CREDIT_NOTE: ("Product", "Units", "Unit price", "Amount"),
}
_MIN_COLUMN_WIDTHS = {InvoiceKind.INVOICE: (17, 19, 17, 20, 24, 27), InvoiceKind.CREDIT_NOTE: (22, 32, 36)}
CELL_PADDING = 1.2
_NOTES = {
    InvoiceKind.INVOICE: "Pending units are charged. Units that are cancelled later are credited on the day of their"
    " cancellation.",
    InvoiceKind.CREDIT_NOTE: "Units of this purchase order that will not be delivered.",
}
ISSUER_WIDTH, TITLE_WIDTH = 110, 74
# The characters of PDF's built-in fonts: those of Western Europe, and the euro sign.
CORE_FONT_ENCODING = "windows-1252"
_CORE_FONT, _CUSTOM_FONT = "helvetica", "custom"

format_amount = partial(decimals.format_amount, separator=",")


class TableRow(Struct, frozen=True):
    """A line as printed."""

    name: str
    sku: str
    cells: Sequence[str]


class TemplateInvoiceRenderer(InvoiceRenderer):
    """Renders invoices.

    `font` is a TrueType file; without it, PDFs show the characters of Western Europe only.
    """

    def __init__(self, *, font: str | None = None) -> None:
        self._font = font
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
        )
        self._template = environment.get_template("invoice.html")

    def html(self, invoice: Invoice) -> str:
        draft = invoice.draft
        return self._template.render(
            title=_TITLES[draft.kind],
            number=invoice.label,
            issuer=draft.issuer.name,
            issuer_details=_issuer_details(draft),
            customer=draft.customer.name,
            customer_details=_customer_details(draft),
            header_fields=_header_fields(invoice),
            columns=_COLUMNS[draft.kind],
            rows=_table_rows(invoice),
            total=format_amount(draft.total),
            currency=draft.currency,
            payment_fields=_payment_fields(draft),
            note=_NOTES[draft.kind],
            purchase_order=draft.purchase_order,
            document=draft.id,
        )

    def text(self, invoice: Invoice) -> str:
        draft = invoice.draft
        fields = [f"{name}: {value}" for name, value in _header_fields(invoice)]
        lines = [f"{line.charged:>6} x {line.name} ({line.sku}): {format_amount(line.amount)}" for line in draft.lines]
        total = f"Total: {format_amount(draft.total)} {draft.currency}"
        parts = [
            f"{_TITLES[draft.kind]} {invoice.label}",
            "\n".join([draft.issuer.name, *_issuer_details(draft)]),
            "\n".join(["To:", draft.customer.name, *_customer_details(draft)]),
            "\n".join(fields),
            "\n".join(lines),
            total,
            *(f"{name}:\n{value}" for name, value in _payment_fields(draft)),
            _NOTES[draft.kind],
        ]
        return "\n\n".join(parts) + "\n"

    def pdf(self, invoice: Invoice) -> bytes:
        return _InvoicePdf(invoice, font=self._font).render()


class _InvoicePdf(FPDF):
    """One document on A4 pages."""

    def __init__(self, invoice: Invoice, *, font: str | None) -> None:
        super().__init__(format="A4")
        self._invoice = invoice
        self._font_family = _CORE_FONT
        if font is not None:
            self._font_family = _CUSTOM_FONT
            self.add_font(_CUSTOM_FONT, fname=font)
            self.add_font(_CUSTOM_FONT, style="B", fname=font)
        self.set_creation_date(to_datetime(invoice.draft.issued_us))
        self.set_title(f"{_TITLES[invoice.draft.kind]} {invoice.label}")
        self.set_author(invoice.draft.issuer.name)
        self.set_lang("en")
        self.core_fonts_encoding = CORE_FONT_ENCODING
        self.set_margins(12, 16, 12)
        self.set_auto_page_break(True, margin=22)
        self.alias_nb_pages()

    def render(self) -> bytes:
        self.add_page()
        self._write_customer_and_fields()
        self._write_table()
        with self.offset_rendering() as trial:
            trial.write_total()
        if trial.page_break_triggered:
            # The total and what belongs to it are on one page.
            self.add_page()
        self.write_total()
        return bytes(self.output())

    def header(self) -> None:
        """Write issuer and title; called by fpdf2 on every page. Only the first page has the issuer's details."""
        draft, top = self._invoice.draft, self.get_y()
        title = f"{_TITLES[draft.kind]} {self._invoice.label}"
        self.set_x(self.w - self.r_margin - TITLE_WIDTH)
        self._write(title, size=15, bold=True, align=Align.R, new_line=True)
        bottom = self.get_y()
        self.set_y(top)
        if self.page_no() == 1:
            self._set_style(size=17, bold=True)
            is_long = self.get_string_width(self._encodable(draft.issuer.name)) > ISSUER_WIDTH - 2
            size = 12 if is_long else 17
            self._write_wrapped(draft.issuer.name, size=size, colour=ACCENT, bold=True, width=ISSUER_WIDTH)
            for line in _issuer_details(draft):
                self._write_wrapped(line, size=8.5, colour=GREY, width=ISSUER_WIDTH)
        else:
            self._set_style(size=10, bold=True)
            name = self._shorten(draft.issuer.name, ISSUER_WIDTH)
            self._write(name, size=10, colour=ACCENT, bold=True, width=ISSUER_WIDTH, new_line=True)
        y = max(bottom, self.get_y()) + 3
        self.set_draw_color(*ACCENT)
        self.set_line_width(0.7)
        self.line(self.l_margin, y, self.w - self.r_margin, y)
        self.set_y(y + 6)

    def footer(self) -> None:
        """Write the ids and the page number; called by fpdf2 on every page."""
        draft = self._invoice.draft
        self.set_y(-17)
        ids = f"Purchase order {draft.purchase_order}  -  Document {draft.id}"
        # The number of pages is known in the end: a right-aligned text with it would be off the margin.
        self._write(f"Page {self.page_no()} of {{nb}}", size=7, colour=GREY, width=30)
        self._write(ids, size=7, colour=GREY, align=Align.R, new_line=True)

    def _write_customer_and_fields(self) -> None:
        draft, top = self._invoice.draft, self.get_y()
        self._write("CUSTOMER", size=8, colour=GREY, new_line=True)
        self._write_wrapped(draft.customer.name, size=12, bold=True, width=95)
        for line in _customer_details(draft):
            self._write_wrapped(line, size=10, width=95)
        bottom = self.get_y()
        self.set_y(top)
        for name, value in _header_fields(self._invoice):
            self.set_x(118)
            self._write(name, size=10, colour=GREY, width=38)
            self._write(value, size=10, align=Align.R, new_line=True)
        self.set_y(max(bottom, self.get_y()) + 7)

    def _write_table(self) -> None:
        kind = self._invoice.draft.kind
        self._set_style(size=8.5, colour=DARK)
        self.set_draw_color(209, 213, 219)
        self.set_line_width(0.2)
        rows = _table_rows(self._invoice)
        with self.table(
            col_widths=self._column_widths(rows),
            text_align=(Align.L, *(Align.R,) * (len(_COLUMNS[kind]) - 1)),
            borders_layout=TableBordersLayout.HORIZONTAL_LINES,
            line_height=4.4,
            padding=CELL_PADDING,
            v_align=VAlign.T,
            headings_style=FontFace(emphasis="BOLD", color=ACCENT, fill_color=PALE),
        ) as table:
            table.row([self._encodable(name) for name in _COLUMNS[kind]])
            for row in rows:
                name, sku = self._encodable(row.name), self._encodable(row.sku)
                table.row([name if row.name == row.sku else f"{name}\n{sku}", *row.cells])

    def _column_widths(self, rows: Sequence[TableRow]) -> Sequence[float]:
        """Return widths in which no number is broken; the products' names get the rest."""
        numbers: list[float] = list(_MIN_COLUMN_WIDTHS[self._invoice.draft.kind])
        for row in rows:
            needed = (self.get_string_width(cell) + 2 * CELL_PADDING + 1 for cell in row.cells)
            numbers = [max(pair) for pair in zip(numbers, needed, strict=True)]
        return (self.epw - sum(numbers), *numbers)

    def write_total(self) -> None:
        """Write the total, how to pay it, and the note."""
        draft = self._invoice.draft
        self.ln(4)
        self._write("Total", size=13, bold=True, width=60)
        total = f"{format_amount(draft.total)} {draft.currency}"
        self._write(total, size=13, bold=True, align=Align.R, new_line=True)
        self.ln(5)
        for name, value in _payment_fields(draft):
            self._write(name.upper(), size=8, colour=GREY, new_line=True)
            self._write_wrapped(value, size=10, width=0)
            self.ln(3)
        self._write_wrapped(_NOTES[draft.kind], size=8.5, colour=GREY, width=0)

    def _shorten(self, text: str, width: float) -> str:
        """Return the start of the text that is not wider than `width` in the current font."""
        text = self._encodable(text)
        if self.get_string_width(text) <= width:
            return text
        while text and self.get_string_width(f"{text}...") > width:
            text = text[:-1]
        return f"{text.rstrip()}..."

    def _set_style(self, *, size: float, colour: tuple[int, int, int] = DARK, bold: bool = False) -> None:
        self.set_font(self._font_family, style="B" if bold else "", size=size)
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
        new_line: bool = False,
    ) -> None:
        self._set_style(size=size, colour=colour, bold=bold)
        x, y = (XPos.LMARGIN, YPos.NEXT) if new_line else (XPos.RIGHT, YPos.TOP)
        self.cell(width, size * 0.5, self._encodable(text), align=align, new_x=x, new_y=y)

    def _write_wrapped(
        self, text: str, *, size: float, width: float, colour: tuple[int, int, int] = DARK, bold: bool = False
    ) -> None:
        self._set_style(size=size, colour=colour, bold=bold)
        self.multi_cell(width, size * 0.5, self._encodable(text), align=Align.L, new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _encodable(self, text: str) -> str:
        """Return the text in characters that the font has."""
        if self._font_family != _CORE_FONT:
            return text
        try:
            text.encode(CORE_FONT_ENCODING)
        except UnicodeEncodeError:
            return "".join(map(_transliterate, text))
        return text


def _transliterate(character: str) -> str:
    for form in (character, unicodedata.normalize("NFKD", character)):
        if encoded := form.encode(CORE_FONT_ENCODING, "ignore"):
            return encoded.decode(CORE_FONT_ENCODING)
    return "?"


def _issuer_details(draft: InvoiceDraft) -> list[str]:
    return _party_details(draft.issuer.address, draft.issuer.tax_id)


def _customer_details(draft: InvoiceDraft) -> list[str]:
    return [*_party_details(draft.customer.address, draft.customer.tax_id), f"Customer no. {draft.customer.site}"]


def _party_details(address: str | None, tax_id: str | None) -> list[str]:
    lines = address.split("\n") if address else []
    return [*lines, *([f"Tax ID {tax_id}"] if tax_id else [])]


def _payment_fields(draft: InvoiceDraft) -> list[tuple[str, str]]:
    """Return how and until when to pay; a credit note is not paid."""
    if draft.kind is InvoiceKind.CREDIT_NOTE:
        return []
    fields = (("Terms of payment", draft.issuer.terms), ("Bank details", draft.issuer.bank))
    return [(name, value) for name, value in fields if value]


def _header_fields(invoice: Invoice) -> list[tuple[str, str]]:
    draft = invoice.draft
    return [
        *([("Credit for invoice", draft.credited_invoice)] if draft.credited_invoice else []),
        ("Business date", draft.business_date),
        ("Issued", f"{to_datetime(draft.issued_us):%Y-%m-%d %H:%M} UTC"),
        ("Transactions", f"{draft.transactions:,}"),
        ("Currency", draft.currency),
    ]


def _table_rows(invoice: Invoice) -> list[TableRow]:
    return [TableRow(line.name, line.sku, _cells(line, invoice.draft.kind)) for line in invoice.draft.lines]


def _cells(line: LineTotals, kind: InvoiceKind) -> Sequence[str]:
    prices = (format_amount(line.unit_price), format_amount(line.amount))
    if kind is InvoiceKind.CREDIT_NOTE:
        return (f"{-line.charged:,}", *prices)
    counts = (line.ordered, line.delivered, line.pending, line.cancelled)
    return (*(f"{count:,}" for count in counts), *prices)
