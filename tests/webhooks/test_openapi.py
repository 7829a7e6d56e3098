"""No response is a server error or undocumented."""

import asyncio

from tests.openapi.documents import load_document
from tests.openapi.schemathesis_runner import example_count, explore
from tests.webhooks.api_fixtures import build_client
from tests.webhooks.events import an_event
from tests.webhooks.sender_harness import SenderHarness, harness

__all__ = ["harness"]


async def test_whatever_is_sent_the_answer_is_described(harness: SenderHarness) -> None:
    api = await build_client(harness.feed, manage=lambda _: harness.manage)
    endpoint, _ = await harness.create()
    await api.append(*(an_event(number) for number in range(3)))
    replay = await harness.replay(endpoint.id)
    document = load_document("events")
    # Without waiting, and without streams, which do not end.
    feed = document["paths"]["/events/v1/{apiKey}/events"]["get"]
    feed["parameters"] = [each for each in feed["parameters"] if each.get("name") not in ("Prefer", "Last-Event-ID")]
    del feed["responses"]["200"]["content"]["text/event-stream"]
    # The document itself is no text to a library that parses it.
    del document["paths"]["/events/openapi.yaml"]
    # Otherwise the others would find no endpoint.
    del document["paths"]["/events/v1/{apiKey}/endpoints/{endpointId}"]["delete"]
    try:
        seen = await asyncio.to_thread(
            explore,
            document,
            str(api.client.make_url("")).rstrip("/"),
            examples=example_count(16),
            token="good",
            path_parameters={"apiKey": "12345", "endpointId": endpoint.id, "replayId": replay.id},
        )
    finally:
        await api.client.close()
    assert {200, 400, 401, 422} <= {status for _, status in seen}
