"""Auth under concurrent valid and invalid requests: few hashes for a busy client, and a responsive event loop."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import pytest

from tests.e2e.customer import BASES, Customer
from tests.e2e.installation import Installation

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

REQUESTS = 1_000
CONCURRENCY = 20
LATE = 'event_loop_delay_seconds_bucket{le="0.02"}'
TICKS = "event_loop_delay_seconds_count"
# A service without load: ticks that are late in its loop, too, are the machine's fault.
IDLE = "fulfilment"
ROUNDS = 4


async def metrics(
    installation: Installation, session: aiohttp.ClientSession, service: str = "auth"
) -> dict[str, float]:
    """Return a service's metrics by name and labels as exposed."""
    async with session.get(f"{installation.endpoints['services'][service]['operations']}/metrics") as response:
        lines = re.findall(r"^([^#\s]\S*) ([0-9.e+-]+)$", await response.text(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


@dataclass(slots=True)
class LoopTicks:
    """Ticks of a service's event loop, and how many of them were more than 20 ms late."""

    service: str
    before: dict[str, float] = field(default_factory=dict)
    all: float = 0
    late: float = 0

    async def begin(self, installation: Installation, session: aiohttp.ClientSession) -> None:
        self.before = await metrics(installation, session, self.service)

    async def end(self, installation: Installation, session: aiohttp.ClientSession) -> None:
        after = await metrics(installation, session, self.service)
        self.all = after[TICKS] - self.before[TICKS]
        self.late = self.all - (after[LATE] - self.before[LATE])


async def request_token(customer: Customer, secret: str) -> int:
    form = {"grant_type": "client_credentials", "client_id": customer.tenant.client_id, "client_secret": secret}
    return (await customer.call("POST", f"{BASES['import']}/oauth2/token", data=form)).status


async def count_statuses(customer: Customer, *, requests: int, secret: Callable[[int], str]) -> Counter[int]:
    """Send requests, `CONCURRENCY` at a time; return the number of each status."""
    numbers, answers = iter(range(requests)), Counter[int]()

    async def one_after_the_other() -> None:
        for number in numbers:
            answers[await request_token(customer, secret(number))] += 1

    await asyncio.gather(*(one_after_the_other() for _ in range(CONCURRENCY)))
    return answers


async def test_a_thousand_requests_of_one_client_cost_one_hash(
    customer: Customer, installation: Installation, session: aiohttp.ClientSession
) -> None:
    before = await metrics(installation, session)
    answers = await count_statuses(customer, requests=REQUESTS, secret=lambda _: customer.tenant.secret)
    after = await metrics(installation, session)
    assert answers == {200: REQUESTS}
    assert after["auth_secret_hashes_total"] - before["auth_secret_hashes_total"] <= 1


async def test_checking_secrets_does_not_hold_up_the_event_loop(
    customer: Customer,
    installation: Installation,
    session: aiohttp.ClientSession,
    record_property: Callable[[str, object], None],
) -> None:
    """A thousand requests, every second one with a secret that was never sent before."""
    wrong = count()

    def either(number: int) -> str:
        return f"wrong-{next(wrong)}" if number % 2 else customer.tenant.secret

    rounds: list[tuple[LoopTicks, LoopTicks]] = []
    while len(rounds) < ROUNDS and not any(auth.late <= idle.late for auth, idle in rounds):
        pair = LoopTicks("auth"), LoopTicks(IDLE)
        for ticks in pair:
            await ticks.begin(installation, session)
        answers = await count_statuses(customer, requests=REQUESTS, secret=either)
        for ticks in pair:
            await ticks.end(installation, session)
        rounds.append(pair)
        assert answers[200] == REQUESTS / 2
        assert answers.keys() <= {200, 401, 429}
        assert pair[0].all >= 20
    counts = [(auth.all, auth.late, idle.all, idle.late) for auth, idle in rounds]
    record_property("ticks_and_late_ticks_of_auth_and_of_an_idle_service", counts)
    assert any(auth.late <= idle.late for auth, idle in rounds), counts
