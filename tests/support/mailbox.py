"""A mail server on this machine, which keeps what it gets."""

import asyncio
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP

from services.chassis.runtime.smtp import SmtpServer


class Mailbox:
    """A mail server that may refuse recipients or hang up."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.refuses: set[str] = set()
        self.hangs_up_after: int | None = None

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if address in self.refuses:
            return "550 nobody of this name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        if self.hangs_up_after is not None and len(self.mails) >= self.hangs_up_after:
            server.transport.close()
            return "250 OK"
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@asynccontextmanager
async def running_mailbox() -> AsyncIterator[tuple[Mailbox, SmtpServer]]:
    """A mailbox, and the address of its server."""
    box = Mailbox()
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    yield box, SmtpServer("127.0.0.1", server.sockets[0].getsockname()[1], is_encrypted=False)
    server.close()
    await server.wait_closed()
