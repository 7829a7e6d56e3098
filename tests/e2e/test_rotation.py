"""Auth rotates keys, restarts and is stopped under steady traffic; holders of valid tokens notice nothing."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from time import monotonic

import aiohttp
import jwt
import pytest

from tests.e2e.background_load import BackgroundLoad
from tests.e2e.customer import BASES, Customer, Tenant
from tests.e2e.installation import Installation

pytestmark = pytest.mark.long

# Lower these on a shared machine.
RATE = int(os.environ.get("IMPORTS_PER_SECOND", "200"))
AWAY_S = float(os.environ.get("AUTH_AWAY_S", "60"))
REVOKED_WITHIN_S = 5.0
BUSY = Tenant(client_id="busy", secret="busy-secret-of-this-test", api_key="busy-key")
LEAVING = Tenant(client_id="leaving", secret="leaving-secret-of-this-test", api_key="busy-key")
LOST = Tenant(client_id="lost", secret="lost-secret-of-this-test", api_key="busy-key")


@pytest.fixture(scope="module")
def _tenants(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Load a site with a high rate limit, and its clients."""
    site = {"site": 700, "name": "Busy", "appId": 1, "rootSource": "r", "datacenter": "qa", "recordsPerSecond": 10_000}
    document = {
        "sites": [{**site, "apiKeys": [{"apiKey": "busy-key"}]}],
        "clients": [
            {"clientId": each.client_id, "secret": each.secret, "site": 700, "apiKeys": ["busy-key"]}
            for each in (BUSY, LEAVING, LOST)
        ],
    }
    file = tmp_path_factory.mktemp("tenants") / "tenants.json"
    file.write_text(json.dumps(document))
    installation.run_cli("init", "--tenants", str(file))


@pytest.mark.timeout(240 + AWAY_S)
@pytest.mark.usefixtures("_tenants")
async def test_rotation_restart_and_absence_of_auth_refuse_nobody_but_the_revoked(
    installation: Installation, session: aiohttp.ClientSession, record_property: Callable[[str, object], None]
) -> None:
    """F5. Breaks: the signing key is rotated twice, auth restarts, then is stopped, while imports arrive steadily.

    Must hold: every import with a valid token is accepted, with tokens of all three keys; a token that is revoked
    before or during auth's absence is refused by every API within five seconds. Known by all the responses.
    """
    busy, leaving, lost = (Customer(installation.base, session, tenant) for tenant in (BUSY, LEAVING, LOST))
    await wait_until(lambda: is_accepted(busy), within_s=10)
    assert all([await is_accepted(leaving), await is_accepted(lost)])
    began = monotonic()
    load = BackgroundLoad(busy, rate=RATE)
    load.tokens.append(await busy.token("import"))
    async with load:
        for _ in range(2):
            await asyncio.to_thread(installation.run_cli, "keys", "rotate")
            load.tokens.append(await token_of_a_new_key(busy, load.tokens))
        await asyncio.to_thread(installation.run, "restart", "auth")
        record_property("revoked_by_its_client_s", await revoked_by_its_client(leaving))
        await asyncio.to_thread(installation.run, "stop", "auth")
        gone_at = monotonic()
        record_property("revoked_by_an_operator_s", await revoked_by_an_operator(lost, installation))
        await asyncio.sleep(max(gone_at + AWAY_S - monotonic(), 0))
        await asyncio.to_thread(installation.run, "start", "auth")
        record_property("auth_away_s", monotonic() - gone_at)
        busy.tokens.clear()
        assert await is_accepted(busy)
    record_property("answers", dict(load.answers))
    record_property("slowest_s", load.slowest_s)
    record_property("stalled_s", load.stalled_s)
    assert len({kid(token) for token in load.tokens}) == 3
    assert load.answers.keys() == {"202"}, (load.answers, load.failures[:20])
    assert load.answers["202"] >= 0.9 * RATE * (monotonic() - began)


async def token_of_a_new_key(customer: Customer, before: list[str]) -> str:
    """Return a token of the key that was just added, once it is in use."""
    known = {kid(token) for token in before}

    async def signs() -> bool:
        customer.tokens.clear()
        return kid(await customer.token("import")) not in known

    await wait_until(signs, within_s=15)
    return await customer.token("import")


def kid(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


async def revoked_by_its_client(customer: Customer) -> float:
    """Revoke tokens as their client (RFC 7009); return how long they were still accepted."""
    for api, token in customer.tokens.items():
        form = {"token": token, "client_id": customer.tenant.client_id, "client_secret": customer.tenant.secret}

        async def is_revoked(address: str = f"{BASES[api]}/oauth2/revoke", form: dict[str, str] = form) -> bool:
            # Auth has just started and may not be connected to Kafka yet.
            status = (await customer.call("POST", address, data=form)).status
            assert status in {200, 503}
            return status == 200

        await wait_until(is_revoked, within_s=10)
    return await refused_everywhere(customer)


async def revoked_by_an_operator(customer: Customer, installation: Installation) -> float:
    """Revoke all tokens of a client with the CLI, without auth; return how long they were still accepted."""
    await asyncio.to_thread(installation.run_cli, "clients", "revoke-tokens", customer.tenant.client_id)
    return await refused_everywhere(customer)


async def refused_everywhere(customer: Customer) -> float:
    began = monotonic()

    async def is_refused() -> bool:
        return set(await statuses(customer)) == {401}

    await wait_until(is_refused, within_s=REVOKED_WITHIN_S)
    return monotonic() - began


async def is_accepted(customer: Customer) -> bool:
    return set(await statuses(customer)) == {200}


async def statuses(customer: Customer) -> list[int]:
    """Return the status of each API for the customer's token."""
    key = customer.tenant.api_key
    paths = {
        "import": f"{BASES['import']}/{key}/limits",
        "status": f"{BASES['status']}/{key}/jobs",
        "fulfilment": f"{BASES['fulfilment']}/orders",
    }
    statuses = []
    for api, path in paths.items():
        headers = {"Authorization": f"Bearer {await customer.token(api)}"}
        statuses.append((await customer.call("GET", path, headers=headers)).status)
    return statuses


async def wait_until(condition: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    until = monotonic() + within_s
    while not await condition():
        assert monotonic() < until, f"not within {within_s} s"
        await asyncio.sleep(0.05)
