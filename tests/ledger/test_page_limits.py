"""I8: what the responses of one client take does not harm others."""

import asyncio

import pytest

from tests.chassis.eventually import until
from tests.ledger.api_fixtures import MANY_READERS, ApiClient, api
from tests.ledger.records import NOON, an_order
from tests.support.unsent_bytes import UnsentBytes

__all__ = ["api"]


@pytest.mark.parametrize("path", ["/users/u1/orders", "/orders/0", "/reports/sales"])
async def test_responses_count_until_they_are_read_and_a_client_has_a_bound(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """I8. Breaks: a client reads a few bytes of each now and then. An order may have 10,000 lines."""
    await api.harness.record(an_order("0", site=api.site, when=NOON))
    unsent = UnsentBytes.of(api.page_limits)
    body = await (await api.get(path)).read()
    assert unsent.highest == len(body) > 0
    monkeypatch.setattr("services.chassis.http.page_limits.MAX_UNSENT_BYTES_PER_CLIENT", 0)
    assert await api.problem(path) == (429, "RATE_LIMITED")


async def test_orders_of_a_client_are_rendered_one_after_the_other(api: ApiClient) -> None:
    """Breaks: a client asks for an order of ten thousand lines as often as its limit allows."""
    await api.harness.record(an_order("0", site=api.site, when=NOON))
    async with api.page_limits.rendering("reader"):
        waiting = asyncio.create_task(api.get("/orders/0"))
        await until(lambda: api.page_limits._waiting["reader"] == 2)
        assert (await api.get("/orders/0", who=MANY_READERS[0])).status == 200
        assert not waiting.done()
    assert (await waiting).status == 200
