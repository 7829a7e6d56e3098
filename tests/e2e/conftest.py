"""One sandbox for all of these tests, on ports of its own.

Tests that use only `customer` can run against any installation with the demo tenants: set `E2E_BASE` to its base URL.
"""

import os
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.customer import DEMO, SECOND, Customer
from tests.e2e.installation import Installation


@pytest.fixture(scope="package")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    # Services refresh signing keys every second instead of every five minutes, so that a rotation takes effect soon.
    made = Installation(tmp_path_factory.mktemp("sandbox"), settings={"AUTH_JWKS_REFRESH_S": "1"})
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.fixture(scope="package")
def base(request: pytest.FixtureRequest) -> str:
    found: str = os.environ.get("E2E_BASE") or request.getfixturevalue("installation").base
    return found


@pytest.fixture(scope="package")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as opened:
        yield opened


@pytest.fixture
def customer(base: str, session: aiohttp.ClientSession) -> Customer:
    return Customer(base, session, DEMO)


@pytest.fixture
def other_customer(base: str, session: aiohttp.ClientSession) -> Customer:
    return Customer(base, session, SECOND)
