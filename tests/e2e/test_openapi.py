"""Schemathesis through the gateway of a whole installation: no response is a server error or undocumented."""

import asyncio

from tests.e2e.customer import Customer
from tests.openapi.documents import load_document
from tests.openapi.schemathesis_runner import example_count, explore


async def test_whatever_is_sent_to_the_import_api_the_answer_is_described(other_customer: Customer) -> None:
    """Set `FUZZ_EXAMPLES` for more requests per operation."""
    seen = await asyncio.to_thread(
        explore,
        load_document("omnichannel"),
        other_customer.base,
        examples=example_count(8),
        token=await other_customer.token("import"),
        path_parameters={"apiKey": other_customer.tenant.api_key},
    )
    assert {200, 202, 400, 401} <= {status for _, status in seen}
