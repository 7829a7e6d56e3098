"""Mails about endpoints that were disabled, to the address of their site."""

from collections.abc import Collection, Sequence
from email.message import EmailMessage

import aiosmtplib
import msgspec
from msgspec import Struct

from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.smtp import SmtpServer, connect
from services.chassis.security.sites import Sites
from services.webhooks import metrics
from services.webhooks.domain.endpoint import DisabledReason

_LOG = logger(__name__)
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


class Mailer:
    """Delivers the outbox's mails. A site without an address gets none; the event is in its feed."""

    def __init__(self, server: SmtpServer, *, sender: str, sites: Sites) -> None:
        self._server = server
        self._sender = sender
        self._sites = sites

    async def deliver(self, messages: Sequence[Message]) -> Collection[str]:
        """Return the ids of the delivered messages; raises `UnavailableError` if the server is not reachable."""
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
        notice = msgspec.json.decode(message.value, type=DisabledNotice)
        site = self._sites.get(notice.site)
        if site is None or site.invoice_email is None:
            return True
        try:
            await smtp.send_message(self._compose(notice, message, site.invoice_email))
        except aiosmtplib.SMTPServerDisconnected:
            raise
        except (aiosmtplib.SMTPException, ValueError) as error:
            metrics.MAILS.labels("refused").inc()
            _LOG.error("mail about an endpoint refused", endpointId=message.target, error=type(error).__name__)
            return False
        metrics.MAILS.labels("sent").inc()
        return True

    def _compose(self, notice: DisabledNotice, message: Message, recipient: str) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = "A webhook endpoint was disabled"
        mail["Message-ID"] = f"<{message.id}@{self._sender.rpartition('@')[2]}>"
        mail.set_content(
            f"The endpoint {message.target} ({notice.url}) gets no more events. {_REASONS[notice.reason]}\n\n"
            "Events are still recorded. When the endpoint works again, enable it and replay what it has missed.\n"
        )
        return mail
