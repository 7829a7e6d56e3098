"""A message that was sent is done, whatever happens to those after it."""

from collections.abc import AsyncIterator
from email.message import EmailMessage

import pytest

from services.chassis.mongodb.mail_delivery import MailDelivery, NotReadableYetError
from services.chassis.mongodb.outbox import Message
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.smtp import SmtpServer
from tests.support.mailbox import Mailbox, running_mailbox


class Mailer(MailDelivery):
    """Composes a mail for each message, unless `troubles` has an exception for it."""

    def __init__(self, server: SmtpServer) -> None:
        self.counted: list[str] = []
        self.troubles: dict[str, Exception] = {}
        super().__init__(server, sender="us@us.example", count=self.counted.append)

    async def compose(self, message: Message) -> EmailMessage | None:
        if message.id in self.troubles:
            raise self.troubles[message.id]
        return self.start_mail(message, recipient="office@shop.example", subject=message.id)


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, SmtpServer]]:
    async with running_mailbox() as running:
        yield running


def messages(*ids: str) -> list[Message]:
    return [Message(id=each, channel="mail", target="t", created_us=0) for each in ids]


@pytest.mark.parametrize(
    ("trouble", "done", "counted"),
    [
        (UnavailableError("MongoDB"), {"a"}, ["sent"]),
        (NotReadableYetError(), {"a", "c"}, ["sent", "sent"]),
        (ValueError("a defect"), {"a", "c"}, ["sent", "refused", "sent"]),
        (KeyError("a defect"), {"a", "c"}, ["sent", "refused", "sent"]),
    ],
    ids=["unavailable", "not readable yet", "a defect", "a missing key"],
)
async def test_a_mail_that_cannot_be_composed_lets_no_other_be_sent_twice(
    mailbox: tuple[Mailbox, SmtpServer], trouble: Exception, done: set[str], counted: list[str]
) -> None:
    box, server = mailbox
    mailer = Mailer(server)
    mailer.troubles = {"b": trouble}
    assert set(await mailer.deliver(messages("a", "b", "c"))) == done
    assert {mail["Subject"] for mail in box.mails} == done
    assert mailer.counted == counted


async def test_without_any_that_was_sent_the_outage_is_reported(mailbox: tuple[Mailbox, SmtpServer]) -> None:
    box, server = mailbox
    mailer = Mailer(server)
    mailer.troubles = {"a": UnavailableError("MongoDB")}
    with pytest.raises(UnavailableError, match="MongoDB"):
        await mailer.deliver(messages("a", "b"))
    assert box.mails == []


async def test_a_server_that_hangs_up_gets_no_mail_twice(mailbox: tuple[Mailbox, SmtpServer]) -> None:
    box, server = mailbox
    box.hangs_up_after = 1
    assert set(await Mailer(server).deliver(messages("a", "b", "c"))) == {"a"}
