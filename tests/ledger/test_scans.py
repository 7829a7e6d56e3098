"""Requests that read all entries of a site are few, and hold up no others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientResponse

from services.chassis.runtime.errors import ContentionError, Problem
from services.chassis.runtime.metrics import REGISTRY
from services.ledger.http.access import MAX_SCANS, MAX_SCANS_PER_CLIENT, Scans
from services.ledger.ports import ReportView
from tests.chassis.eventually import until
from tests.ledger.api_fixtures import MANY_READERS, ApiClient, api
from tests.ledger.records import an_order

__all__ = ["api"]

READERS = MANY_READERS[: MAX_SCANS // MAX_SCANS_PER_CLIENT]
INNOCENT = MANY_READERS[len(READERS)]


@dataclass
class HeldReports:
    """Reports that the store holds until the gate is open."""

    waiting: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list["asyncio.Task[ClientResponse]"] = field(default_factory=list)

    def start(self, api: ApiClient, *readers: str) -> None:
        """Ask for a report in another zone for each of the readers."""
        paths = [api.get("/reports/sales", who=reader, zone="Asia/Tokyo") for reader in readers]
        self.tasks += map(asyncio.create_task, paths)

    async def end(self) -> list[int]:
        """Let all go on; return their status codes."""
        self.gate.set()
        return [response.status for response in await asyncio.gather(*self.tasks)]


@pytest.fixture
async def held(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[HeldReports]:
    held, sums = HeldReports(), api.harness.sums
    view = sums.view

    @asynccontextmanager
    async def held_view() -> AsyncIterator[ReportView]:
        held.waiting += 1
        await held.gate.wait()
        async with view() as found:
            yield found

    def view_or_held_view() -> AbstractAsyncContextManager[ReportView]:
        return view() if held.gate.is_set() else held_view()

    monkeypatch.setattr(sums, "view", view_or_held_view)
    yield held
    await held.end()


def rate_limited() -> float:
    return REGISTRY.get_sample_value("ledger_rate_limited_total") or 0.0


async def test_reports_that_read_all_entries_hold_up_no_page(api: ApiClient, held: HeldReports) -> None:
    """Breaks: each of two such reports holds one of the two permits to render, for as long as it reads."""
    await api.harness.record(an_order(site=api.site))
    held.start(api, READERS[0], READERS[1])
    await until(lambda: held.waiting == 2)
    async with asyncio.timeout(5):
        for reader in (READERS[0], INNOCENT):
            page = await api.get("/users/u1/orders", who=reader)
            assert (page.status, len((await page.json())["result"])) == (200, 1)
    assert await held.end() == [200, 200]


async def test_a_client_is_not_blamed_for_the_scans_of_others(api: ApiClient, held: HeldReports) -> None:
    held.start(api, *READERS * MAX_SCANS_PER_CLIENT)
    await until(lambda: held.waiting == MAX_SCANS)
    before = rate_limited()
    for path in ("/reports/sales?zone=Asia/Tokyo", "/exports/orders"):
        refused = await api.get(path, who=INNOCENT)
        assert (refused.status, "Retry-After" in refused.headers) == (503, True)
    assert rate_limited() == before
    assert await held.end() == [200] * MAX_SCANS
    assert (await api.get("/exports/orders", who=INNOCENT)).status == 200


def test_a_client_beyond_its_own_limit_is_refused_and_counted() -> None:
    scans, before = Scans(), rate_limited()
    with ExitStack() as active:
        for _ in range(MAX_SCANS_PER_CLIENT):
            active.enter_context(scans.begin("one"))
        with pytest.raises(Problem) as refused:
            active.enter_context(scans.begin("one"))
        assert (refused.value.status, refused.value.code) == (429, "RATE_LIMITED")
        assert rate_limited() == before + 1
        active.enter_context(scans.begin("another"))
    with scans.begin("one"):
        pass


def test_the_limit_of_all_clients_is_contention() -> None:
    scans, before = Scans(), rate_limited()
    with ExitStack() as active:
        for number in range(MAX_SCANS):
            active.enter_context(scans.begin(str(number)))
        with pytest.raises(ContentionError, match="the ledger API"):
            active.enter_context(scans.begin("innocent"))
    assert rate_limited() == before
