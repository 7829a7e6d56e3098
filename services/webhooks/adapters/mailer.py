"""Mails about endpoints that were disabled, to the address of their site."""

from email.message import EmailMessage

import msgspec
from msgspec import Struct

from services.chassis.mongodb.mail_delivery import MailDelivery
from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.smtp import SmtpServer
from services.chassis.security.sites import Sites
from services.webhooks import metrics
from services.webhooks.domain.endpoint import DisabledReason

_REASONS = {
    DisabledReason.FAILING: "It has not accepted any event for five days.",
    DisabledReason.GONE: "It answered 410 Gone.",
    DisabledReason.REQUESTED: "This was requested.",
}


class DisabledNotice(Struct, frozen=True):
    """What a mail is about."""

    site: int
    url: str
    reason: DisabledReason


class Mailer(MailDelivery):
    """Delivers the outbox's mails. A site without an address gets none; the event is in its feed."""

    def __init__(self, server: SmtpServer, *, sender: str, sites: Sites) -> None:
        super().__init__(server, sender=sender, count=lambda result: metrics.MAILS.labels(result).inc())
        self._sites = sites

    async def compose(self, message: Message) -> EmailMessage | None:
        """Return the mail about an endpoint; None if its site has no address."""
        notice = msgspec.json.decode(message.value, type=DisabledNotice)
        site = self._sites.get(notice.site)
        if site is None or site.invoice_email is None:
            return None
        mail = self.start_mail(message, recipient=site.invoice_email, subject="A webhook endpoint was disabled")
        mail.set_content(
            f"The endpoint {message.target} ({notice.url}) gets no more events. {_REASONS[notice.reason]}\n\n"
            "Events are still recorded. When the endpoint works again, enable it and replay what it has missed.\n"
        )
        return mail
