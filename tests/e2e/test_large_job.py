"""A job of the maximum size, produced directly, over all partitions of the topic."""

import asyncio
from collections.abc import Iterator
from typing import Any
from uuid import uuid1

import psutil
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer

from tests.e2e.customer import Customer
from tests.e2e.external_producer import SETTINGS, SUBMITTED, orders, write
from tests.e2e.installation import Installation

pytestmark = pytest.mark.long

TOTAL, EVERY = 100_000, 5
FAULTY = list(range(0, TOTAL, EVERY))
MIB, ROUNDS = 2**20, 4


def some_faulty(job_id: str) -> Iterator[dict[str, Any]]:
    for order in orders(job_id, TOTAL):
        if order["job"]["index"] % EVERY == 0:
            order["lineItems"][0]["productId"] = "missing"
        yield order


def submit(installation: Installation, job_id: str) -> None:
    endpoints = installation.endpoints
    with SchemaRegistryClient({"url": endpoints["registry_url"]}) as client:
        text = client.get_latest_version(f"{SUBMITTED}-value").schema.schema_str
        serializer = AvroSerializer(client, text, conf=SETTINGS["latest"])
        write(endpoints["kafka_bootstrap_servers"], serializer, some_faulty(job_id))


@pytest.mark.timeout(400)
async def test_a_hundred_thousand_records_a_fifth_of_them_faulty(
    installation: Installation, customer: Customer
) -> None:
    """Must hold: counts, every page of events and of records, and memory that does not grow with what was read."""
    job_id = str(uuid1())
    await asyncio.to_thread(submit, installation, job_id)
    final = await customer.wait_for_job(job_id, within_s=180, rows="1")
    summary = final["summary"]
    assert summary["job"]["state"] == "COMPLETED_WITH_WARNING"
    assert summary["job"]["baggage"]["records"] == {"total": TOTAL, "failed": 20_000, "success": 80_000}
    assert (summary["total-events"], summary["WARNING"]) == (20_000, 20_000)

    status = psutil.Process(installation.status()["status"]["pid"])
    resident = []
    for _ in range(ROUNDS):
        await read_everything(customer, job_id)
        resident.append(status.memory_info().rss / MIB)
    # The first rounds still grow the allocator's reserves.
    assert max(resident) < 300, resident
    assert resident[-1] - resident[ROUNDS // 2 - 1] < 20, resident


async def read_everything(customer: Customer, job_id: str) -> None:
    """Read all pages of all views of the job."""
    faults = await read_pages(customer.events, job_id, rows="5000")
    assert [event["attributes"]["index"] for event in faults] == FAULTY
    assert len({event["statusId"] for event in faults}) == len(FAULTY)
    whole = await read_pages(customer.events, job_id, rows="10000", showAll="true")
    assert [event["attributes"].get("index", TOTAL) for event in whole] == [*range(TOTAL), TOTAL]
    assert [event["level"] for event in whole[:6]] == ["WARNING", "DETAIL", "DETAIL", "DETAIL", "DETAIL", "WARNING"]
    assert whole[-1]["level"] == "SUMMARY"
    failed = await read_pages(customer.records, job_id, rows="10000", outcome="failed")
    assert [record["index"] for record in failed] == FAULTY
    assert {record["faults"][0]["code"] for record in failed} == {"PRODUCT_NOT_FOUND"}
    assert all(record["record"]["lineItems"][0]["productId"] == "missing" for record in failed)
    good = await read_pages(customer.records, job_id, rows="10000", outcome="succeeded")
    assert [record["index"] for record in good] == [index for index in range(TOTAL) if index % EVERY]
    assert await read_pages(customer.records, job_id, rows="10000", outcome="unprocessed") == []


async def read_pages(read: Any, job_id: str, **params: str) -> list[Any]:
    """Read all pages, one after another."""
    found: list[Any] = []
    query = dict(params)
    while True:
        reply = await read(job_id, **query)
        assert reply.status == 200, reply
        found += reply.json["result"]
        token = reply.json["pagination"]["nextPageToken"]
        if token is None:
            return found
        query["page"] = token
