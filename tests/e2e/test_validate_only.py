"""`validateOnly` on a whole installation: it says what the import says afterwards, and leaves nothing behind."""

import asyncio
from pathlib import Path
from time import monotonic
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition

from tests.e2e.customer import Customer, Reply
from tests.e2e.installation import Installation
from tests.e2e.test_canaries import content, documents, records

TOPICS = ("orders.submitted.v1", "returns.submitted.v1", "jobs.events.v1", "records.rejected.v1", "orders.validated.v1")


async def dry_run(customer: Customer, body: Any, *, within_s: float = 20) -> Reply:
    """Validate, and retry 429 and 503."""
    path = f"/omnichannel/api/v1/{customer.tenant.api_key}/orders?validateOnly=true"
    headers = {"Authorization": f"Bearer {await customer.token('import')}", "Idempotency-Key": uuid4().hex}
    deadline = asyncio.get_running_loop().time() + within_s
    while True:
        reply = await customer.call("POST", path, json=body, headers=headers)
        if reply.status not in {429, 503} or asyncio.get_running_loop().time() > deadline:
            return reply
        await asyncio.sleep(0.2)


def a_body(customer: Customer) -> list[dict[str, Any]]:
    lines = [{"productId": product, "quantity": 1, "unitPrice": 1} for product in ("4556", "zz1", "zz2", "zz1")]
    return [
        customer.order(),
        customer.order(lineItems=lines),
        customer.order(currency="XXQ", lineItems=lines),
        customer.order(dateTime="9999-01-01T00:00:00Z"),
        customer.order(mode="online"),
        customer.order(userId=...),
        customer.order(couponValue="1.25", colour="red"),
    ]


def outcomes(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    names = ("index", "id", "userId", "outcome", "faults")
    return sorted(tuple(row[name] for name in names) for row in rows)


async def test_the_import_ends_as_the_dry_run_said(customer: Customer) -> None:
    """Record by record, as the status API shows it: outcome, ids, and all faults with their messages."""
    body = a_body(customer)
    dry = await dry_run(customer, body)
    assert dry.status == 200, dry
    assert dry.json["catalogueAsOf"]
    job = (await customer.send_with_retry(body)).json["jobId"]
    await customer.wait_for_job(job)
    rows = [
        row
        for outcome in ("succeeded", "failed")
        for row in (await customer.records(job, outcome=outcome)).json["result"]
    ]
    for row in rows:
        row.pop("record", None)
    assert outcomes(dry.json["records"]) == outcomes(rows)
    assert {row["outcome"] for row in rows} == {"succeeded", "failed"}


async def test_nothing_is_published_stored_or_logged(installation: Installation, customer: Customer) -> None:
    """Breaks if any record of a dry run leaves a trace: on a topic, in a collection, in a log."""
    bootstrap = installation.endpoints["kafka_bootstrap_servers"]
    canary = f"canary{uuid4().hex}"
    good, unknown = (
        customer.order(id=canary),
        customer.order(lineItems=[{"productId": canary, "quantity": 1, "unitPrice": 1}]),
    )
    before = await end_offsets(bootstrap)
    reply = await dry_run(customer, [good, unknown, customer.order(userId=canary, currency="XXQ")])
    assert [record["outcome"] for record in reply.json["records"]] == ["succeeded", "failed", "failed"]
    # The import that follows is published behind anything that the dry run could have published.
    await customer.wait_for_job((await customer.send_with_retry([customer.order()])).json["jobId"])
    grown = {name: end - before[name] for name, end in (await end_offsets(bootstrap)).items() if end != before[name]}
    assert grown["orders.submitted.v1"] == grown["orders.validated.v1"] == 1
    assert set(grown) <= {"orders.submitted.v1", "orders.validated.v1", "jobs.events.v1"}
    needle = canary.encode()
    async for topic, record in records(bootstrap):
        assert needle not in record, topic
    assert [
        name for name, document in documents(installation.endpoints["mongodb_uri"]) if canary in str(document)
    ] == []
    logs = [path for path in installation.directory.rglob("*.log") if path.is_file()]
    assert [path for path in logs if needle in content(path)] == []


async def test_without_the_validator_it_is_503_and_imports_go_on(
    installation: Installation, customer: Customer
) -> None:
    await asyncio.to_thread(installation.run, "stop", "validator")
    try:
        reply = await dry_run(customer, [customer.order()], within_s=0)
        while reply.status == 429:
            reply = await dry_run(customer, [customer.order()], within_s=0)
        assert (reply.status, reply.code) == (503, "UNAVAILABLE")
        assert int(reply.headers["retry-after"]) >= 1
        job = (await customer.send_with_retry([customer.order()])).json["jobId"]
    finally:
        await asyncio.to_thread(installation.run, "start", "validator")
    await customer.wait_for_job(job, within_s=60)
    assert (await dry_run(customer, [customer.order()])).status == 200


async def test_a_new_product_changes_the_verdict_and_the_state(
    installation: Installation, customer: Customer, tmp_path: Path
) -> None:
    """`catalogueAsOf` names the state of the catalogue: it is later once the product is known."""
    product = f"p-{uuid4().hex[:8]}"
    body = [customer.order(lineItems=[{"productId": product, "quantity": 1, "unitPrice": 1}])]
    before = (await dry_run(customer, body)).json
    assert before["records"][0]["outcome"] == "failed"
    file = tmp_path / "catalogue.csv"
    file.write_text(f"site,productId,name\n608,{product},Sock\n")
    await asyncio.to_thread(installation.run_cli, "catalog", "load", str(file))
    deadline = monotonic() + 20
    after = before
    while after["records"][0]["outcome"] == "failed":
        assert monotonic() < deadline, after
        after = (await dry_run(customer, body)).json
    assert after["catalogueAsOf"] > before["catalogueAsOf"]


async def end_offsets(bootstrap: str) -> dict[str, int]:
    """Return the number of records of each topic, added up over its partitions."""
    kafka = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=None)
    await kafka.start()
    try:
        partitions = [
            TopicPartition(topic, number)
            for topic in TOPICS
            for number in (await kafka._client._wait_on_metadata(topic))
        ]
        ends = await kafka.end_offsets(partitions)
    finally:
        await kafka.stop()
    return {topic: sum(end for partition, end in ends.items() if partition.topic == topic) for topic in TOPICS}
