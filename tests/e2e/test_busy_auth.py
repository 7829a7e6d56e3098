"""Auth while many ask at once, rightly and wrongly: it hashes little for a busy client, and its event loop turns."""

import asyncio
import re
from collections import Counter
from collections.abc import Callable
from itertools import count

import aiohttp
import pytest

from tests.e2e.customer import BASES, Customer
from tests.e2e.installation import Installation

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

REQUESTS = 1_000
AT_ONCE = 20
LATEST_S = "0.02"
# A neighbour on the machine may hold up one round, but not each.
ROUNDS = 4


async def metrics(installation: Installation, session: aiohttp.ClientSession) -> dict[str, float]:
    """Auth's metrics, by name and labels as they are exposed."""
    async with session.get(f"{installation.endpoints['services']['auth']['operations']}/metrics") as answer:
        lines = re.findall(r"^([^#\s]\S*) ([0-9.e+-]+)$", await answer.text(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


async def ask(customer: Customer, secret: str) -> int:
    form = {"grant_type": "client_credentials", "client_id": customer.tenant.client_id, "client_secret": secret}
    return (await customer.call("POST", f"{BASES['import']}/oauth2/token", data=form)).status


async def asked(customer: Customer, *, requests: int, secret: Callable[[int], str]) -> Counter[int]:
    """What so many requests were answered, `AT_ONCE` of them at the same time."""
    numbers, answers = iter(range(requests)), Counter[int]()

    async def one_after_the_other() -> None:
        for number in numbers:
            answers[await ask(customer, secret(number))] += 1

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
    return answers


async def test_a_thousand_requests_of_one_client_cost_one_hash(
    customer: Customer, installation: Installation, session: aiohttp.ClientSession
) -> None:
    before = await metrics(installation, session)
    answers = await asked(customer, requests=REQUESTS, secret=lambda _: customer.tenant.secret)
    after = await metrics(installation, session)
    assert answers == {200: REQUESTS}
    assert after["auth_secret_hashes_total"] - before["auth_secret_hashes_total"] <= 1


async def test_the_event_loop_is_never_held_up_while_secrets_are_checked(
    customer: Customer,
    installation: Installation,
    session: aiohttp.ClientSession,
    record_property: Callable[[str, object], None],
) -> None:
    """A thousand requests, every second one with a secret that was never tried before."""
    wrong = count()

    def either(number: int) -> str:
        return f"wrong-{next(wrong)}" if number % 2 else customer.tenant.secret

    late: list[float] = []
    while len(late) < ROUNDS and 0 not in late:
        before = await metrics(installation, session)
        answers = await asked(customer, requests=REQUESTS, secret=either)
        after = await metrics(installation, session)
        grown = {name: after[name] - before.get(name, 0) for name in after}
        assert answers[200] == REQUESTS / 2
        assert answers.keys() <= {200, 401, 429}
        assert grown["auth_secret_hashes_total"] >= REQUESTS / 2, "wrong secrets cost their hash"
        beats = grown["event_loop_delay_seconds_count"]
        assert beats >= 20
        late.append(beats - grown[f'event_loop_delay_seconds_bucket{{le="{LATEST_S}"}}'])
    record_property("beats_later_than_20_ms", late)
    assert 0 in late, late
