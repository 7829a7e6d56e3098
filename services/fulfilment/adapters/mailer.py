"""Sends invoices by SMTP."""

from email.message import EmailMessage

from services.chassis.mongodb.mail_delivery import MailDelivery, NotReadableYetError
from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.smtp import SmtpServer
from services.fulfilment import metrics
from services.fulfilment.domain.invoice import InvoiceKind
from services.fulfilment.ports import InvoiceRenderer, InvoiceStore


class Mailer(MailDelivery):
    """Delivers the outbox's mails, which name invoices."""

    def __init__(self, server: SmtpServer, *, sender: str, renderer: InvoiceRenderer, invoices: InvoiceStore) -> None:
        super().__init__(server, sender=sender, count=lambda result: metrics.MAILS.labels(result).inc())
        self._renderer = renderer
        self._invoices = invoices

    async def compose(self, message: Message) -> EmailMessage | None:
        """Return the mail with the invoice; None if its customer has no address."""
        invoice = await self._invoices.find(message.target)
        if invoice is None:
            raise NotReadableYetError
        draft = invoice.draft
        if draft.customer.email is None:
            return None
        title = "Invoice" if draft.kind is InvoiceKind.INVOICE else "Credit note"
        subject = f"{title} {invoice.label} from {draft.issuer.name}"
        mail = self.start_mail(message, recipient=draft.customer.email, subject=subject)
        mail.set_content(self._renderer.text(invoice))
        mail.add_alternative(self._renderer.html(invoice), subtype="html")
        name = f"{draft.kind.lower()}-{invoice.label}.pdf"
        mail.add_attachment(self._renderer.pdf(invoice), maintype="application", subtype="pdf", filename=name)
        return mail
