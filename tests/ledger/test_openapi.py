"""Schemathesis against the ledger's API: no response is a server error or undocumented."""

import asyncio

import pytest

from tests.ledger.api_fixtures import ApiClient, api
from tests.ledger.records import a_return, an_order
from tests.openapi.documents import load_document
from tests.openapi.schemathesis_runner import example_count, explore

__all__ = ["api"]


@pytest.mark.parametrize(("who", "statuses"), [("reader", {200, 400, 401, 403, 404}), ("eraser", {202, 403, 404})])
async def test_whatever_is_sent_the_answer_is_described(api: ApiClient, who: str, statuses: set[int]) -> None:
    """Set `FUZZ_EXAMPLES` for more requests per operation."""
    await api.harness.record(an_order(site=api.site), a_return(site=api.site, channel="shop"))
    seen = await asyncio.to_thread(
        explore,
        load_document("ledger"),
        str(api.client.make_url("")),
        examples=example_count(20),
        token=who,
        path_parameters={"apiKey": "12345", "userId": "u1", "orderId": "13"},
    )
    assert statuses <= {status for _, status in seen}
