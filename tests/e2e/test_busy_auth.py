"""Auth while many ask at once, rightly and wrongly: it hashes little for a busy client, and its event loop turns."""

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
AT_ONCE = 20
LATE = 'event_loop_delay_seconds_bucket{le="0.02"}'
BEATS = "event_loop_delay_seconds_count"
# A service that has nothing to do meanwhile: as often as its loop is late, the machine is.
IDLE = "fulfilment"
ROUNDS = 4


async def metrics(
    installation: Installation, session: aiohttp.ClientSession, service: str = "auth"
) -> dict[str, float]:
    """A service's metrics, by name and labels as they are exposed."""
    async with session.get(f"{installation.endpoints['services'][service]['operations']}/metrics") as answer:
        lines = re.findall(r"^([^#\s]\S*) ([0-9.e+-]+)$", await answer.text(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


@dataclass(slots=True)
class LoopTicks:
    """How many beats of a service's event loop there were, and how many of them came later than 20 ms."""

    service: str
    before: dict[str, float] = field(default_factory=dict)
    all: float = 0
    late: float = 0

    async def begin(self, installation: Installation, session: aiohttp.ClientSession) -> None:
        self.before = await metrics(installation, session, self.service)

    async def end(self, installation: Installation, session: aiohttp.ClientSession) -> None:
        after = await metrics(installation, session, self.service)
        self.all = after[BEATS] - self.before[BEATS]
        self.late = self.all - (after[LATE] - self.before[LATE])


async def request_token(customer: Customer, secret: str) -> int:
    form = {"grant_type": "client_credentials", "client_id": customer.tenant.client_id, "client_secret": secret}
    return (await customer.call("POST", f"{BASES['import']}/oauth2/token", data=form)).status


async def count_statuses(customer: Customer, *, requests: int, secret: Callable[[int], str]) -> Counter[int]:
    """What so many requests were answered, `AT_ONCE` of them at the same time."""
    numbers, answers = iter(range(requests)), Counter[int]()

    async def one_after_the_other() -> None:
        for number in numbers:
            answers[await request_token(customer, secret(number))] += 1

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
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
    """A thousand requests, every second one with a secret that was never tried before."""
    wrong = count()

    def either(number: int) -> str:
        return f"wrong-{next(wrong)}" if number % 2 else customer.tenant.secret

    rounds: list[tuple[LoopTicks, LoopTicks]] = []
    while len(rounds) < ROUNDS and not any(auth.late <= idle.late for auth, idle in rounds):
        pair = LoopTicks("auth"), LoopTicks(IDLE)
        for beats in pair:
            await beats.begin(installation, session)
        answers = await count_statuses(customer, requests=REQUESTS, secret=either)
        for beats in pair:
            await beats.end(installation, session)
        rounds.append(pair)
        assert answers[200] == REQUESTS / 2
        assert answers.keys() <= {200, 401, 429}
        assert pair[0].all >= 20
    told = [(auth.all, auth.late, idle.all, idle.late) for auth, idle in rounds]
    record_property("beats_and_late_ones_of_auth_and_of_an_idle_service", told)
    assert any(auth.late <= idle.late for auth, idle in rounds), told
