"""One sandbox with seeded data, and one Chromium, for all of these tests. Without Chromium they are skipped."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.browser.screen import Screens
from tests.browser.seed import sow
from tests.e2e.installation import Installation

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


@pytest.fixture(scope="session")
def chromium() -> str:
    return find_chromium()


@pytest.fixture(scope="session")
def installation(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    del chromium  # without it, nothing has to start
    made = Installation(tmp_path_factory.mktemp("sandbox"))
    made.run("up", "--port", "0", within_s=240)
    yield made
    made.run("down")


@pytest.fixture(scope="session")
def base(request: pytest.FixtureRequest) -> str:
    """The address of the sandbox: one of these tests' own, unless `E2E_BASE` names another one."""
    return os.environ.get("E2E_BASE") or str(request.getfixturevalue("installation").base)


@pytest.fixture(scope="session")
async def screens(chromium: str, base: str) -> AsyncIterator[Screens]:
    """Windows of a browser at a portal with data."""
    async with playwright_api.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        names = await asyncio.to_thread(sow, base)
        yield Screens(browser, base, names.names)
        await browser.close()
