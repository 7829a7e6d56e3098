"""No response is a server error or undocumented."""

import asyncio

from tests.openapi.documents import load_document
from tests.openapi.schemathesis_runner import example_count, explore
from tests.webhooks.api_fixtures import FeedClient, api
from tests.webhooks.events import an_event

__all__ = ["api"]


async def test_whatever_is_sent_the_answer_is_described(api: FeedClient) -> None:
    await api.append(*(an_event(number) for number in range(3)))
    document = load_document("events")
    # Without waiting, and without streams, which do not end.
    parameters = document["paths"]["/events/v1/{apiKey}/events"]["get"]["parameters"]
    parameters[:] = [each for each in parameters if each.get("name") not in ("Prefer", "Last-Event-ID")]
    del document["paths"]["/events/v1/{apiKey}/events"]["get"]["responses"]["200"]["content"]["text/event-stream"]
    seen = await asyncio.to_thread(
        explore,
        document,
        str(api.client.make_url("")).rstrip("/"),
        examples=example_count(30),
        token="good",
        path_parameters={"apiKey": "12345"},
    )
    assert {200, 400, 401} <= {status for _, status in seen}
