"""Metrics of each request, over HTTP."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from services.chassis.runtime.metrics import REGISTRY
from tests.ingest.client import ApiClient, import_api
from tests.ingest.fakes import a_return, order

KEY = {"Idempotency-Key": "k"}
BODY = json.dumps([order()]).encode()


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    async with import_api() as client:
        yield client


async def import_orders(client: ApiClient) -> None:
    bad = order(id="o3", mode="online", lineItems=[{"productId": "p", "quantity": 0, "unitPrice": -1}])
    await client.send([order(mode="online"), order(id="o2", mode="online"), bad, {**bad, "id": "o4"}])


async def import_returns(client: ApiClient) -> None:
    await client.send([a_return()], kind="returns")


async def send_malformed_json(client: ApiClient) -> None:
    await client.send(b"[")


async def send_wrong_media_type(client: ApiClient) -> None:
    await client.send(BODY, headers={"Content-Type": "text/xml"})


async def send_beyond_scopes(client: ApiClient) -> None:
    await client.send([a_return()], token="orders")


async def send_again(client: ApiClient) -> None:
    for _ in range(3):
        await client.send(BODY, headers=KEY)


async def send_too_many(client: ApiClient) -> None:
    await client.send([order(id=str(number)) for number in range(100)])
    for _ in range(2):
        await client.send(BODY)


async def send_without_broker(client: ApiClient) -> None:
    client.publisher.is_unavailable = True
    await client.send(BODY)


@pytest.mark.parametrize(
    ("act", "increments"),
    [
        (
            import_orders,
            {
                ("ingest_records_total", "orders", "online", "accepted"): 2,
                ("ingest_records_total", "orders", "online", "rejected"): 2,
                ("ingest_faults_total", "INVALID_QUANTITY"): 2,
                ("ingest_faults_total", "INVALID_VALUE"): 2,
            },
        ),
        (import_returns, {("ingest_records_total", "returns", "offline", "accepted"): 1}),
        (send_malformed_json, {("ingest_refused_total", "MALFORMED_JSON"): 1}),
        (send_wrong_media_type, {("ingest_refused_total", "UNSUPPORTED_MEDIA_TYPE"): 1}),
        (send_beyond_scopes, {("ingest_refused_total", "FORBIDDEN"): 1}),
        (
            send_again,
            {("ingest_records_total", "orders", "offline", "accepted"): 1, ("ingest_replayed_total",): 2},
        ),
        (
            send_too_many,
            {("ingest_records_total", "orders", "offline", "accepted"): 100, ("ingest_rate_limited_total",): 2},
        ),
        (send_without_broker, {}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_each_outcome_is_counted_once(
    client: ApiClient, act: Callable[[ApiClient], Any], increments: dict[tuple[str, ...], float]
) -> None:
    before = samples("_total")
    await act(client)
    assert increase(before, samples("_total")) == increments


async def test_sizes_are_those_of_requests_and_of_what_was_on_the_wire(client: ApiClient) -> None:
    """A batch counts once it is published, a body once it is read."""
    before = samples("_sum")
    await client.send(gzip.compress(BODY))
    await client.send([order(), order(lineItems=[])])
    await client.send(b"[")
    increased = increase(before, samples("_sum"))
    assert increased["ingest_batch_records_sum", "orders"] == 3
    sent = len(gzip.compress(BODY)) + len(json.dumps([order(), order(lineItems=[])])) + 1
    assert increased["ingest_wire_bytes_sum",] == sent


def samples(suffix: str) -> dict[tuple[str, ...], float]:
    """Return the samples of ingest's metrics by name and labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in REGISTRY.collect()
        if family.name.startswith("ingest_")
        for sample in family.samples
        if sample.name.endswith(suffix)
    }


def increase(before: dict[tuple[str, ...], float], after: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    return {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)}
