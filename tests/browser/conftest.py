"""One sandbox with seeded data, and one Chromium, for all of these tests. Without Chromium they are skipped."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.browser.page_cases import CUSTOMER
from tests.browser.screen import Screens
from tests.browser.seed import sow
from tests.e2e.installation import Installation
from tests.portal.oidc_issuer import CLIENT_ID, CLIENT_SECRET, SUBJECT, OidcIssuer

playwright_api = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They run by `make browser`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


def find_chromium() -> str:
    """Return the path of a Chromium; skips the test if there is none."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no chromium on PATH: `apt-get install chromium`")
    return found


@pytest.fixture(scope="package")
def chromium() -> str:
    return find_chromium()


@pytest.fixture(scope="package")
async def openid_issuer(chromium: str) -> AsyncIterator[OidcIssuer]:
    """An issuer whose people are the customer. To a browser it is another site than the portal: its host differs."""
    del chromium  # without it, nothing has to start
    issuer = OidcIssuer(now_s=time.time, has_page=True)
    server = await issuer.start("localhost")
    yield issuer
    await server.close()


@pytest.fixture(scope="package")
def installation(openid_issuer: OidcIssuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    client_id, client_secret = CUSTOMER
    settings = {
        "OIDC_ISSUER": openid_issuer.url,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "OIDC_CLIENTS": json.dumps({SUBJECT: {"client_id": client_id, "client_secret": client_secret}}),
        "OIDC_NAME": "Example & Sons",
    }
    made = Installation(tmp_path_factory.mktemp("sandbox"), settings)
    made.run("up", "--port", "0", within_s=240)
    yield made
    made.run("down")


@pytest.fixture(scope="package")
def base(request: pytest.FixtureRequest) -> str:
    """The address of the sandbox: one of these tests' own, unless `E2E_BASE` names another one."""
    return os.environ.get("E2E_BASE") or str(request.getfixturevalue("installation").base)


@pytest.fixture(scope="package")
def bootstrap(request: pytest.FixtureRequest) -> str | None:
    """The brokers of the sandbox; None for another one, whose Kafka is not known."""
    if "E2E_BASE" in os.environ:
        return None
    installation: Installation = request.getfixturevalue("installation")
    return installation.environment_of("auth")["KAFKA_BOOTSTRAP_SERVERS"]


@pytest.fixture(scope="package")
async def screens(chromium: str, base: str, bootstrap: str | None) -> AsyncIterator[Screens]:
    """Windows of a browser at a portal with data."""
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        names = await asyncio.to_thread(sow, base, bootstrap)
        yield Screens(browser, base, names.names)
        await browser.close()
