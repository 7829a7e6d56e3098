"""Sends invoices by SMTP."""

from collections.abc import Collection, Sequence
from email.message import EmailMessage

import aiosmtplib

from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.smtp import SmtpServer, connect
from services.fulfilment import metrics
from services.fulfilment.domain.invoice import Invoice, InvoiceKind
from services.fulfilment.ports import InvoiceRenderer, InvoiceStore

_LOG = logger(__name__)


class Mailer:
    """Delivers the outbox's mails, which name invoices. An invoice's mail always has the same Message-ID."""

    def __init__(self, server: SmtpServer, *, sender: str, renderer: InvoiceRenderer, invoices: InvoiceStore) -> None:
        self._server = server
        self._sender = sender
        self._renderer = renderer
        self._invoices = invoices

    async def deliver(self, messages: Sequence[Message]) -> Collection[str]:
        """Return the ids of the accepted messages; raises `UnavailableError` if the server is not reachable."""
        sent: set[str] = set()
        try:
            async with connect(self._server) as smtp:
                for message in messages:
                    if await self._send(smtp, message):
                        sent.add(message.id)
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError):
            if not sent:
                raise UnavailableError("the mail server") from None
        return sent

    async def _send(self, smtp: aiosmtplib.SMTP, message: Message) -> bool:
        invoice = await self._invoices.find(message.target)
        if invoice is None:
            # The mail is stored in the invoice, so it exists, but a majority does not have it yet.
            return False
        if invoice.draft.customer.email is None:
            return True
        try:
            await smtp.send_message(self._compose(invoice, invoice.draft.customer.email, message.id))
        except aiosmtplib.SMTPServerDisconnected:
            raise
        except (aiosmtplib.SMTPException, ValueError) as error:
            metrics.MAILS.labels("refused").inc()
            _LOG.error("invoice mail refused", invoiceId=invoice.draft.id, error=type(error).__name__)
            return False
        metrics.MAILS.labels("sent").inc()
        return True

    def _compose(self, invoice: Invoice, recipient: str, message_id: str) -> EmailMessage:
        title = "Invoice" if invoice.draft.kind is InvoiceKind.INVOICE else "Credit note"
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = f"{title} {invoice.label} from {invoice.draft.issuer.name}"
        mail["Message-ID"] = f"<{message_id}@{self._sender.rpartition('@')[2]}>"
        mail.set_content(self._renderer.text(invoice))
        mail.add_alternative(self._renderer.html(invoice), subtype="html")
        name = f"{invoice.draft.kind.lower()}-{invoice.label}.pdf"
        mail.add_attachment(self._renderer.pdf(invoice), maintype="application", subtype="pdf", filename=name)
        return mail
