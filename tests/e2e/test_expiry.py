"""Expiry of jobs that make no progress."""

import asyncio
from collections.abc import Iterator
from time import monotonic
from uuid import uuid1

import aiohttp
import pytest
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer

from tests.e2e.customer import DEMO, Customer
from tests.e2e.external_producer import SETTINGS, SUBMITTED, orders, write
from tests.e2e.installation import Installation

pytestmark = pytest.mark.long

DEADLINE_S = 3


@pytest.fixture(scope="module")
def fast_expiry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A sandbox whose jobs expire within seconds."""
    made = Installation(tmp_path_factory.mktemp("fast-expiry"), settings={"JOB_DEADLINE_S": str(DEADLINE_S)})
    made.run("up", "--port", "0", within_s=180)
    yield made
    made.run("down")


@pytest.mark.timeout(300)
async def test_a_job_that_stands_still_expires_and_one_that_waits_for_the_validator_does_not(
    fast_expiry: Installation, session: aiohttp.ClientSession
) -> None:
    """Breaks: one of a job's two records does not come in time; then the validator is killed for longer than that.

    Must hold: the first job expires, and its late record shows on `/records` only. A job whose records wait for the
    validator does not expire, however long that takes. Known by the responses, ETag included.
    """
    customer = Customer(fast_expiry.base, session, DEMO)
    late = str(uuid1())
    await asyncio.to_thread(submit, fast_expiry, late, 0)
    ended = await customer.wait_for_job(late, within_s=60)
    job = ended["summary"]["job"]
    assert (job["state"], job["baggage"]["records"]) == (
        "EXPIRED",
        {"total": 2, "failed": 0, "success": 1, "unprocessed": 1},
    )
    assert [(event["level"], event["attributes"]["index"]) for event in ended["result"]] == [("ERROR", 1)]
    tag = (await customer.events(late)).headers["etag"]

    fast_expiry.kill("validator")
    waiting = (await customer.send_with_retry([customer.order()])).json["jobId"]
    until = monotonic() + 3 * DEADLINE_S
    while monotonic() < until:
        job = (await customer.events(waiting, headers={"Prefer": "wait=1"})).json["summary"]["job"]
        assert (job["state"], job["terminal"]) == ("RECEIVED", False)
    await asyncio.to_thread(fast_expiry.run, "start", "validator")
    assert (await customer.wait_for_job(waiting, within_s=60))["summary"]["job"]["state"] == "COMPLETED"

    await asyncio.to_thread(submit, fast_expiry, late, 1)
    until = monotonic() + 30
    while "lateOutcome" not in (item := (await customer.records(late, outcome="unprocessed")).json["result"][0]):
        assert monotonic() < until, item
        await asyncio.sleep(0.05)
    assert item["lateOutcome"] == "succeeded"
    again = await customer.events(late)
    assert (again.headers["etag"], again.json) == (tag, ended)


def submit(installation: Installation, job_id: str, index: int) -> None:
    """Produce one of a job's two orders with Confluent's serializer."""
    endpoints = installation.endpoints
    with SchemaRegistryClient({"url": endpoints["registry_url"]}) as client:
        text = client.get_latest_version(f"{SUBMITTED}-value").schema.schema_str
        serializer = AvroSerializer(client, text, conf=SETTINGS["latest"])
        made = [order for order in orders(job_id, 2) if order["job"]["index"] == index]
        write(endpoints["kafka_bootstrap_servers"], serializer, iter(made))
