"""Mails about disabled endpoints, from the write that disables to a mail server."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from services.chassis.mongodb.outbox import Relay
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.smtp import SmtpServer
from services.values.sites import Site
from services.webhooks.adapters.endpoint_store import MAIL
from services.webhooks.adapters.mailer import Mailer
from services.webhooks.domain.endpoint import DisabledReason, Endpoint
from services.webhooks.flows import manage_endpoints
from tests.support.mailbox import Mailbox, running_mailbox
from tests.webhooks.events import SITE, an_event
from tests.webhooks.sender_harness import SECOND_US, URL, SenderHarness, harness

__all__ = ["harness"]

ADDRESS = "office@shop.example"


@pytest.fixture
async def mailbox() -> AsyncIterator[tuple[Mailbox, SmtpServer]]:
    async with running_mailbox() as running:
        yield running


class FakeSites:
    """One site, with or without an address for invoices."""

    def __init__(self, address: str | None) -> None:
        self._site = Site(
            site=SITE, name="Demo", app_id=1, root_source="r", datacenter="d", api_keys=(), invoice_email=address
        )

    def get(self, site: int) -> Site | None:
        return self._site if site == SITE else None


def a_relay(harness: SenderHarness, server: SmtpServer, *, address: str | None = ADDRESS) -> Relay:
    mailer = Mailer(server, sender="us@us.example", sites=FakeSites(address))  # type: ignore[arg-type]
    return Relay(harness.outbox, mailer.deliver, channel=MAIL)


async def disable(harness: SenderHarness, reason: DisabledReason) -> Endpoint:
    endpoint, _ = await harness.create()
    await manage_endpoints.disable_endpoint(endpoint, reason, endpoints=harness.endpoints, now_us=harness.clock)
    return endpoint


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        (DisabledReason.GONE, "It answered 410 Gone."),
        (DisabledReason.FAILING, "It has not accepted any event for five"),
    ],
)
async def test_a_site_is_mailed_once(
    harness: SenderHarness, mailbox: tuple[Mailbox, SmtpServer], reason: DisabledReason, sentence: str
) -> None:
    box, server = mailbox
    endpoint = await disable(harness, reason)
    relay = a_relay(harness, server)
    assert (await relay.deliver_due(), await relay.deliver_due()) == (1, 0)
    (mail,) = box.mails
    assert (mail["From"], mail["To"]) == ("us@us.example", ADDRESS)
    assert mail["Subject"] == "A webhook endpoint was disabled"
    assert mail["Message-ID"].endswith("@us.example>")
    text = mail.get_content()
    assert endpoint.id in text
    assert URL in text
    assert sentence in text


async def test_a_410_reaches_the_mail_server(harness: SenderHarness, mailbox: tuple[Mailbox, SmtpServer]) -> None:
    """The whole way: an answer, the write that disables, the outbox, the mail."""
    box, server = mailbox
    await harness.create()
    harness.transport.answer = lambda _: 410
    await harness.append(an_event(1))
    await harness.run()
    assert await a_relay(harness, server).deliver_due() == 1
    assert len(box.mails) == 1


async def test_who_disables_an_endpoint_gets_no_mail(
    harness: SenderHarness, mailbox: tuple[Mailbox, SmtpServer]
) -> None:
    _, server = mailbox
    endpoint, _ = await harness.create()
    await harness.enable(endpoint.id, is_enabled=False)
    assert await a_relay(harness, server).deliver_due() == 0


async def test_a_site_without_an_address_gets_none(harness: SenderHarness, mailbox: tuple[Mailbox, SmtpServer]) -> None:
    box, server = mailbox
    await disable(harness, DisabledReason.GONE)
    assert await a_relay(harness, server, address=None).deliver_due() == 1
    assert box.mails == []


async def test_mails_wait_for_the_server(harness: SenderHarness, mailbox: tuple[Mailbox, SmtpServer]) -> None:
    """Breaks: no server; then it refuses the recipient; then it hangs up. Must hold: one mail in the end."""
    box, server = mailbox
    await disable(harness, DisabledReason.GONE)
    with pytest.raises(UnavailableError):
        await a_relay(harness, replace(server, port=1)).deliver_due()
    relay = a_relay(harness, server)
    box.refuses = {ADDRESS}
    assert await relay.deliver_due() == 0
    box.refuses, box.hangs_up_after = set(), 0
    harness.now_us += 60 * SECOND_US
    with pytest.raises(UnavailableError):
        await relay.deliver_due()
    box.hangs_up_after = None
    harness.now_us += 600 * SECOND_US
    assert (await relay.deliver_due(), len(box.mails)) == (1, 1)
