"""One sandbox for all of these tests, on ports of its own."""

from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.e2e.customer import DEMO, SECOND, Customer
from tests.e2e.installation import Installation


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    # Signing keys are told every second instead of every five minutes, so that a rotation can be watched.
    made = Installation(tmp_path_factory.mktemp("sandbox"), told={"AUTH_JWKS_REFRESH_S": "1"})
    made.must("up", "--port", "0", within_s=180)
    yield made
    made.must("down")


@pytest.fixture(scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as opened:
        yield opened


@pytest.fixture
def customer(installation: Installation, session: aiohttp.ClientSession) -> Customer:
    return Customer(installation.base, session, DEMO)


@pytest.fixture
def other_customer(installation: Installation, session: aiohttp.ClientSession) -> Customer:
    return Customer(installation.base, session, SECOND)
