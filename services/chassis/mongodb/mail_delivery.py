"""Delivers the outbox's mails by SMTP. A message's mail always has the same Message-ID."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from email.message import EmailMessage

import aiosmtplib

from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.smtp import SmtpServer, connect

_LOG = logger(__name__)


class NotReadableYetError(Exception):
    """What the mail is about is stored, but a majority of the replica set does not have it yet."""


class MailDelivery(ABC):
    """Sends messages as mails; `count` is called with the result of each, `sent` or `refused`."""

    def __init__(self, server: SmtpServer, *, sender: str, count: Callable[[str], None]) -> None:
        self._server = server
        self._sender = sender
        self._count = count

    @abstractmethod
    async def compose(self, message: Message) -> EmailMessage | None:
        """Return the mail, None if nobody is to get one. Raises `NotReadableYetError`, `UnavailableError`."""

    async def deliver(self, messages: Sequence[Message]) -> Collection[str]:
        """Return the ids of the messages that are done; raises `UnavailableError` only if none is."""
        sent: set[str] = set()
        try:
            async with connect(self._server) as smtp:
                for message in messages:
                    if await self._send(smtp, message):
                        sent.add(message.id)
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPServerDisconnected, aiosmtplib.SMTPTimeoutError, OSError):
            if not sent:
                raise UnavailableError("the mail server") from None
        except UnavailableError:
            # What was sent must be removed from the outbox: otherwise it is sent again.
            if not sent:
                raise
        return sent

    def start_mail(self, message: Message, *, recipient: str, subject: str) -> EmailMessage:
        """Return a mail without its content."""
        mail = EmailMessage()
        mail["From"] = self._sender
        mail["To"] = recipient
        mail["Subject"] = subject
        mail["Message-ID"] = f"<{message.id}@{self._sender.rpartition('@')[2]}>"
        return mail

    async def _send(self, smtp: aiosmtplib.SMTP, message: Message) -> bool:
        try:
            mail = await self.compose(message)
        except NotReadableYetError:
            return False
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - a mail that cannot be composed must not hold up the others
            self._refuse(message, error)
            return False
        if mail is None:
            return True
        try:
            await smtp.send_message(mail)
        except aiosmtplib.SMTPServerDisconnected:
            raise
        except (aiosmtplib.SMTPException, ValueError) as error:
            self._refuse(message, error)
            return False
        self._count("sent")
        return True

    def _refuse(self, message: Message, error: Exception) -> None:
        self._count("refused")
        _LOG.error("mail refused", target=message.target, error=type(error).__name__)
