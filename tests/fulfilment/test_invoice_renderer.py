"""Invoices as HTML, text and PDF, and by mail."""

import html
import re
import zlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from msgspec.structs import replace

from services.chassis.mongodb.outbox import Outbox, Relay
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.smtp import SmtpServer, parse_smtp_url
from services.fulfilment import metrics
from services.fulfilment.adapters.invoice_renderer import TemplateInvoiceRenderer, format_amount
from services.fulfilment.adapters.invoices import INVOICES
from services.fulfilment.adapters.mailer import Mailer
from services.fulfilment.domain.customer import BillingDetails
from services.fulfilment.domain.ids import derive_id
from services.fulfilment.domain.invoice import Invoice, InvoiceDraft, InvoiceKind, Issuer
from services.fulfilment.domain.listing import InvoiceQuery
from services.fulfilment.domain.totals import LineTotals
from services.fulfilment.wire.events import MAIL
from tests.fulfilment.harness import SITE, Harness
from tests.support.mailbox import Mailbox, running_mailbox

RENDERER = TemplateInvoiceRenderer()
ISSUER = Issuer(
    name="Us & Co", address="1 Main St\nTown", tax_id="US-1", bank="IBAN XX12 3456\nBIC ABCD", terms="14 days"
)


def a_line(name: str = "Card", *, charged: int = 3) -> LineTotals:
    return LineTotals(
        sku="SKU-1",
        name=name,
        unit_price=Decimal("1234.5"),
        ordered=4,
        delivered=2,
        cancelled=1,
        charged=charged,
    )


def an_invoice(*lines: LineTotals, kind: InvoiceKind = InvoiceKind.INVOICE) -> Invoice:
    return Invoice(
        InvoiceDraft(
            credited_invoice="2026-000006" if kind is InvoiceKind.CREDIT_NOTE else None,
            kind=kind,
            purchase_order="po",
            sequence=0,
            business_date="2026-03-04",
            currency="USD",
            issuer=ISSUER,
            customer=BillingDetails(SITE, "Shop <b>", "a@customer.example", "2 Side St\nVillage", "FR 12"),
            lines=lines or (a_line(),),
            issued_us=1_772_668_800_000_000,
            transactions=2,
        ),
        7,
    )


@pytest.mark.parametrize(
    ("value", "shown"),
    [("0", "0.00"), ("1234567.5", "1,234,567.50"), ("0.000001", "0.000001"), ("-3.10", "-3.10"), ("1E+3", "1,000.00")],
)
def test_money(value: str, shown: str) -> None:
    assert format_amount(Decimal(value)) == shown


def test_a_page_shows_everything_and_runs_nothing() -> None:
    page = RENDERER.html(an_invoice(a_line("<script>alert(1)</script>")))
    for text in ("2026-000007", "Us &amp; Co", "Shop &lt;b&gt;", "1,234.50", "3,703.50", "2026-03-05 00:00 UTC"):
        assert text in page
    assert "<script>" not in page
    assert "http" not in page


def test_a_pdf_is_the_same_each_time_and_takes_any_name() -> None:
    lines = [a_line(f"Łódź 卡 {n}") for n in range(90)]
    first, second = (RENDERER.pdf(an_invoice(*lines)) for _ in range(2))
    assert first == second
    assert first.startswith(b"%PDF-")
    assert first.count(b"/Type /Page\n") >= 3


@pytest.mark.parametrize(
    ("name", "printed"),
    [("20 €", b"20 \x80"), ("Müller’s", b"M\xfcller\x92s"), ("Łódź 卡", b"?\xf3dz ?"), ("Ž", b"\x8e")],
)
def test_a_pdf_shows_the_characters_of_western_europe(name: str, printed: bytes) -> None:
    assert printed in b"".join(printed_pages(RENDERER.pdf(an_invoice(a_line(name)))))


def printed_pages(pdf: bytes) -> list[bytes]:
    packed = re.findall(rb"FlateDecode.*?stream\n(.*?)\nendstream", pdf, re.DOTALL)
    return [page for page in map(zlib.decompress, packed) if b" Tf" in page or b"BT" in page]


PARTIES = ("Us & Co", "1 Main St", "Town", "US-1", "Shop <b>", "2 Side St", "Village", "FR 12", f"Customer no. {SITE}")
PAYMENT = ("IBAN XX12 3456", "BIC ABCD", "14 days")


def test_every_form_names_issuer_and_customer_and_how_to_pay() -> None:
    invoice = an_invoice()
    page, text = html.unescape(RENDERER.html(invoice)), RENDERER.text(invoice)
    (pdf,) = printed_pages(RENDERER.pdf(invoice))
    for detail in (*PARTIES, *PAYMENT):
        assert detail in page
        assert detail in text
        assert detail.encode() in pdf


def test_a_credit_note_is_not_to_be_paid() -> None:
    note = an_invoice(kind=InvoiceKind.CREDIT_NOTE)
    (pdf,) = printed_pages(RENDERER.pdf(note))
    for detail in PAYMENT:
        assert detail not in RENDERER.html(note)
        assert detail not in RENDERER.text(note)
        assert detail.encode() not in pdf
    assert b"US-1" in pdf


def test_without_details_only_the_names_are_printed() -> None:
    invoice = an_invoice()
    draft = replace(invoice.draft, issuer=Issuer(name="Us"), customer=BillingDetails(SITE, "Shop"))
    for document in (RENDERER.html(Invoice(draft, 7)), RENDERER.text(Invoice(draft, 7))):
        assert "None" not in document
        assert "Tax ID" not in document
        assert "Bank" not in document


def test_a_pdf_breaks_no_number_and_keeps_the_total_with_its_terms() -> None:
    dear = replace(a_line("W" * 256, charged=9_999_999), unit_price=Decimal("100000.123456"), ordered=9_999_999)
    (pdf,) = printed_pages(RENDERER.pdf(an_invoice(dear)))
    for number in (b"(9,999,999)", b"(100,000.123456)", b"(1,000,001,134,559.876544)"):
        assert number in pdf
    for count in range(1, 60):
        *_, last = printed_pages(RENDERER.pdf(an_invoice(*[a_line(f"Card {n}") for n in range(count)])))
        assert all(text in last for text in (b"Total", b"14 days", b"BIC ABCD", b"Pending units")), count


def test_a_long_name_is_shortened_on_the_following_pages() -> None:
    name = "Internationale Gutscheinvertriebsgesellschaft " * 2 + "mit beschr\u00e4nkter Haftung"
    invoice = an_invoice(*[a_line(f"Card {n}") for n in range(300)])
    pages = printed_pages(RENDERER.pdf(Invoice(replace(invoice.draft, issuer=replace(ISSUER, name=name)), 7)))
    assert len(pages) >= 3
    assert all(b"Internationale Gutscheinvertriebsgesellschaft" in page for page in pages)
    assert all(b"..." in page for page in pages[1:])
    assert all(b"2026-000007" in page and b"Unit price" in page for page in pages[:-1])
    printed = b"".join(pages)
    assert all(f"(Card {n})".encode() in printed for n in range(300))


def test_a_credit_note_says_so_and_for_which_invoice() -> None:
    note = an_invoice(a_line(charged=-2), kind=InvoiceKind.CREDIT_NOTE)
    for text in ("Credit note", "2026-000006", "-2,469.00", "USD"):
        assert text in RENDERER.html(note)
        assert text in RENDERER.text(note)
    assert "<td>2</td>" in RENDERER.html(note)
    assert RENDERER.pdf(note).startswith(b"%PDF-")


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, SmtpServer]]:
    async with running_mailbox() as running:
        yield running


def a_relay(harness: Harness, server: SmtpServer) -> Relay:
    mongo = harness.mongo
    assert mongo is not None
    mailer = Mailer(server, sender="us@us.example", renderer=RENDERER, invoices=harness.invoices)
    return Relay(Outbox(mongo, [INVOICES], now_us=harness.clock), mailer.deliver, channel=MAIL)


async def issue_invoice(harness: Harness) -> None:
    assert harness.mongo is not None
    await Outbox(harness.mongo, [INVOICES], now_us=harness.clock).create_indexes()
    await harness.place(("CARD", 1))
    harness.clock.advance(days=1)
    await harness.close_days()


async def test_a_customer_with_an_address_gets_each_invoice_once(
    mongo_harness: Harness, mailbox: tuple[Mailbox, SmtpServer]
) -> None:
    box, server = mailbox
    await issue_invoice(mongo_harness)
    relay = a_relay(mongo_harness, server)
    assert await relay.deliver_due() == 0
    mongo_harness.customers.emails[SITE] = "a@customer.example"
    await issue_invoice(mongo_harness)
    assert (await relay.deliver_due(), await relay.deliver_due()) == (1, 0)
    (mail,) = box.mails
    assert mail["Subject"] == "Invoice 2026-000002 from Us"
    assert (mail["From"], mail["To"]) == ("us@us.example", "a@customer.example")
    (_, invoice) = sorted(await mongo_harness.invoices.find_page(InvoiceQuery(site=SITE)), key=lambda one: one.number)
    assert mail["Message-ID"] == f"<{derive_id('mail', invoice.draft.id)}@us.example>"
    kinds = [part.get_content_type() for part in mail.walk() if not part.is_multipart()]
    assert kinds == ["text/plain", "text/html", "application/pdf"]


async def test_without_a_server_mails_wait(mongo_harness: Harness, mailbox: tuple[Mailbox, SmtpServer]) -> None:
    box, server = mailbox
    mongo_harness.customers.emails[SITE] = "a@customer.example"
    await issue_invoice(mongo_harness)
    nowhere = a_relay(mongo_harness, replace(server, port=1))
    with pytest.raises(UnavailableError):
        await nowhere.deliver_due()
    box.refuses = {"a@customer.example"}
    relay = a_relay(mongo_harness, server)
    assert await relay.deliver_due() == 0
    box.refuses = set()
    mongo_harness.clock.advance(seconds=6)
    assert await relay.deliver_due() == 1


async def test_mails_that_arrived_before_the_server_went_are_not_sent_again(
    mongo_harness: Harness, mailbox: tuple[Mailbox, SmtpServer]
) -> None:
    box, server = mailbox
    mongo_harness.customers.emails[SITE] = "a@customer.example"
    await mongo_harness.place(("CARD-EUR", 1))
    await issue_invoice(mongo_harness)
    relay, before = a_relay(mongo_harness, server), sent_mail_count()
    box.hangs_up_after = 1
    assert await relay.deliver_due() == 1
    box.hangs_up_after = None
    mongo_harness.clock.advance(seconds=6)
    assert (await relay.deliver_due(), await relay.deliver_due()) == (1, 0)
    assert sorted(mail["Subject"] for mail in box.mails) == [
        "Invoice 2026-000001 from Us",
        "Invoice 2026-000002 from Us",
    ]
    assert sent_mail_count() - before == 2


def sent_mail_count() -> float:
    return float(metrics.MAILS.labels("sent")._value.get())


async def test_an_invoice_that_cannot_be_read_yet_is_mailed_later(
    mongo_harness: Harness, mailbox: tuple[Mailbox, SmtpServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is due as soon as it is stored; the invoice can be read once a majority has it."""
    box, server = mailbox
    mongo_harness.customers.emails[SITE] = "a@customer.example"
    await issue_invoice(mongo_harness)
    relay = a_relay(mongo_harness, server)

    async def unseen(_: str) -> None:
        return None

    monkeypatch.setattr(mongo_harness.invoices, "find", unseen)
    assert (await relay.deliver_due(), len(box.mails)) == (0, 0)
    monkeypatch.undo()
    mongo_harness.clock.advance(seconds=6)
    assert (await relay.deliver_due(), len(box.mails)) == (1, 1)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://localhost", SmtpServer("localhost", 587, is_encrypted=False)),
        (
            "smtps://u%40x:p%3A@mail.example:4650",
            SmtpServer("mail.example", 4650, is_encrypted=True, user="u@x", password="p:"),
        ),
    ],
)
def test_mail_servers(url: str, expected: SmtpServer) -> None:
    assert parse_smtp_url(url) == expected
    assert "p:" not in repr(expected)


@pytest.mark.parametrize(
    "url",
    ["http://x", "smtp://", "smtp://me:hid/den@host:25", "smtp://me:hid℀den@host", "smtp://host:99999", "smtp://[x"],
)
def test_an_invalid_mail_server_is_reported_without_its_password(url: str) -> None:
    """A password may contain unencoded characters: the part before them looks like a port."""
    with pytest.raises(ValueError, match="must be smtp://host:port") as error:
        parse_smtp_url(url)
    assert "hid" not in str(error.value)
