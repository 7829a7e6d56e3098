"""The runbook's rarer alerts, caused for real and resolved as the runbook says."""

import asyncio
import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid1

import psutil
import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Consumer as Reader
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from pymongo.database import Database

from tests.chassis.eventually import until
from tests.e2e.customer import BASES, Customer
from tests.e2e.installation import Installation
from tests.e2e.test_expiry import submit
from tests.observe.alert_watch import AlertWatch, background_orders
from tests.observe.fast_rules import SPEED_UP
from tests.support.valkey import Valkey

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

DAY_S = 86_400
# The fast rules' equivalent of an hour, and a margin.
STALE_TIMEOUT_S = 3_600 / SPEED_UP + 30
ORDERS, PARTITIONS = "orders.submitted.v1", 12
# MongoDB's error code of a call that timed out.
EXCEEDED_TIME_LIMIT = 262


@contextmanager
def database(broken: Installation) -> Iterator[Database[dict[str, Any]]]:
    client: MongoClient[dict[str, Any]]
    with MongoClient(broken.endpoints["mongodb_uri"]) as client:
        yield client.get_database("tillstream")


async def test_jobs_that_take_too_long(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """The validator is stopped for a while: all jobs of that time are slow."""
    process = psutil.Process(broken.status()["validator"]["pid"])
    async with background_orders(customer):
        process.send_signal(signal.SIGSTOP)
        try:
            await watch.wait_for('max_over_time(up{job="validator"}[20s]) == 0')
        finally:
            process.send_signal(signal.SIGCONT)
        await watch.wait_for_alert("EndToEndBurnsFast")
        await watch.wait_for_alert("EndToEndBurnsSlowly")
        await watch.wait_for_panel("pipeline: Time until visible", predicate=lambda value: value > 5)
        await watch.wait_for_resolved("EndToEndBurnsFast")


async def test_a_partition_full_of_what_nobody_can_read(broken: Installation, watch: AlertWatch) -> None:
    """After a thousand the partition is halted; a restart resets the count."""
    producer = AIOKafkaProducer(bootstrap_servers=broken.endpoints["kafka_bootstrap_servers"])
    async with producer:
        for number in range(1_500):
            await producer.send("returns.submitted.v1", b"rubbish", key=b"%d" % number, partition=3)
    await watch.wait_for_alert("PartitionStopped", group="validator")
    await watch.wait_for_panel("pipeline: Halted partitions")
    await asyncio.to_thread(broken.run, "restart", "validator")
    await watch.wait_for_resolved("PartitionStopped", group="validator")
    await watch.wait_for('sum(consumer_lag_records{group="validator"}) == 0')


async def test_records_that_went_before_they_were_read(
    broken: Installation, customer: Customer, watch: AlertWatch
) -> None:
    """Delete records as retention would; the log says where and how many."""
    await _fill_partitions(customer)
    await watch.wait_for('sum(consumer_lag_records{group="validator"}) == 0')
    await asyncio.to_thread(broken.run, "stop", "validator")
    try:
        await _fill_partitions(customer)
        await asyncio.to_thread(_delete_records, broken.endpoints["kafka_bootstrap_servers"])
    finally:
        await asyncio.to_thread(broken.run, "start", "validator")
    await watch.wait_for_alert("RecordsLost", topic=ORDERS)
    await watch.wait_for_panel("pipeline: Lost to retention")
    assert "records lost to retention" in broken.run("logs", "validator", "-n", "1000")
    await watch.wait_for_alert("ExpiredJobs")


async def _fill_partitions(customer: Customer) -> None:
    """Send orders to most partitions."""
    replies = await asyncio.gather(*(customer.send_with_retry([customer.order()]) for _ in range(40)))
    assert {reply.status for reply in replies} == {202}


def _delete_records(servers: str) -> None:
    reader = Reader({"bootstrap.servers": servers, "group.id": "none"})
    partitions = [TopicPartition(ORDERS, number) for number in range(PARTITIONS)]
    ends = [
        TopicPartition(ORDERS, each.partition, reader.get_watermark_offsets(each, timeout=10)[1]) for each in partitions
    ]
    reader.close()
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.delete_records(ends).values():
        done.result(30)


async def test_a_job_that_is_never_whole(broken: Installation, watch: AlertWatch) -> None:
    await watch.wait_for_resolved("ExpiredJobs")
    await asyncio.to_thread(submit, broken, str(uuid1()), 0)
    await watch.wait_for_alert("ExpiredJobs")
    await watch.wait_for_panel("business: Expired jobs")
    await watch.wait_for_resolved("ExpiredJobs")


async def test_an_order_of_codes_that_waits_for_a_day(
    broken: Installation, customer: Customer, watch: AlertWatch, tmp_path: Path
) -> None:
    """Loading codes fulfils it."""
    token = await customer.token("fulfilment")
    reply = await customer.call(
        "POST",
        f"{BASES['fulfilment']}/orders",
        json={"products": [{"sku": "DEMO-STOCK", "quantity": 25}]},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert reply.status == 202, reply
    with database(broken) as stored:
        where = {"_id": reply.json["transactionId"]}
        assert stored["transactions"].update_one(where, {"$inc": {"created_us": -2 * DAY_S * 1_000_000}}).matched_count
    await watch.wait_for_alert("OldestPendingCode")
    await watch.wait_for_panel("business: Oldest pending code", predicate=lambda age_s: age_s > DAY_S)
    await watch.wait_for_panel("business: Pending transactions")
    codes = tmp_path / "codes"
    codes.write_text("".join(f"PROVOKED-{number}\n" for number in range(25)), encoding="utf-8")
    load = ("fulfilment", "stock", "load", "DEMO-STOCK", str(codes))
    done = await asyncio.to_thread(broken.try_cli, *load, settings=broken.environment_of("fulfilment"))
    assert done.returncode == 0, done.stderr
    await watch.wait_for_resolved("OldestPendingCode")


async def test_a_supplier_that_does_not_answer(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Its orders wait, others are fulfilled; once it answers, the next request for codes gets them."""
    with database(broken) as stored, unavailable_stock(stored):
        waiting, other = [await order_codes(customer, sku) for sku in ("DEMO-STOCK", "DEMO-INSTANT")]
        await until(lambda: has_codes(customer, other), deadline_s=20)
        where = {"_id": waiting}
        assert stored["transactions"].update_one(where, {"$inc": {"created_us": -2 * DAY_S * 1_000_000}}).matched_count
        await watch.wait_for_alert("OldestPendingCode")
        await watch.wait_for_panel("business: Pending transactions")

        async def is_told() -> bool:
            logs = await asyncio.to_thread(broken.run, "logs", "fulfilment", "-n", "1000")
            return "supplier unavailable" in logs

        await until(is_told, deadline_s=30)
        assert not await has_codes(customer, waiting)
    await until(lambda: has_codes(customer, waiting), deadline_s=10)
    await watch.wait_for_resolved("OldestPendingCode")


@contextmanager
def unavailable_stock(stored: Database[dict[str, Any]]) -> Iterator[None]:
    """While inside, the database fails every allocation from the stock, and nothing else."""
    failing = {"failCommands": ["findAndModify"], "namespace": f"{stored.name}.codes", "errorCode": EXCEEDED_TIME_LIMIT}
    admin = stored.client.admin
    admin.command({"configureFailPoint": "failCommand", "mode": "alwaysOn", "data": failing})
    try:
        yield
    finally:
        admin.command({"configureFailPoint": "failCommand", "mode": "off"})


async def order_codes(customer: Customer, sku: str) -> str:
    reply = await customer.order_code(sku)
    assert reply.status == 202, reply
    return str(reply.json["transactionId"])


async def has_codes(customer: Customer, transaction_id: str) -> bool:
    headers = {"Authorization": f"Bearer {await customer.token('fulfilment')}"}
    reply = await customer.call("GET", f"{BASES['fulfilment']}/orders/{transaction_id}/codes", headers=headers)
    return reply.status == 200 and bool(reply.json["status"] == "COMPLETED")


async def test_a_key_that_nobody_replaces(broken: Installation, watch: AlertWatch) -> None:
    """Auth cannot store the next key and logs that; once it can, a rotation succeeds."""
    with database(broken) as stored:
        stored.command("collMod", "auth_keys", validator={"never": {"$exists": True}})
        try:
            _date_back(stored, "auth_keys", "signs_from", -200 * DAY_S)
            await watch.wait_for_alert("KeyRotationOverdue")
            await watch.wait_for_panel("runtime: Next key rotation in", predicate=lambda left_s: left_s < -DAY_S)
            assert "background task failed" in broken.run("logs", "auth", "-n", "1000")
        finally:
            stored.command("collMod", "auth_keys", validator={})
    await asyncio.to_thread(broken.run_cli, "keys", "rotate")
    await watch.wait_for_resolved("KeyRotationOverdue")


def _date_back(stored: Database[dict[str, Any]], name: str, field: str, by: int) -> None:
    pipeline: Sequence[dict[str, Any]] = [{"$set": {field: {"$add": [f"${field}", by]}}}]
    stored[name].update_many({}, pipeline, bypass_document_validation=True)


async def test_signing_keys_that_cannot_be_fetched(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Auth is stopped; the others keep their keys, log that, and fetch keys as soon as it is back."""
    verifying = ("ingest", "status", "fulfilment")
    await asyncio.to_thread(broken.run, "stop", "auth")
    try:
        for service in verifying:
            await watch.wait_for_alert("SigningKeysStale", job=service, within_s=STALE_TIMEOUT_S)
            await watch.wait_for_panel("runtime: JWKS fetches", job=service, outcome="failed")
            assert "signing keys not fetched" in broken.run("logs", service, "-n", "1000")
        assert (await customer.send_with_retry([customer.order()])).status == 202
    finally:
        await asyncio.to_thread(broken.run, "start", "auth")
    for service in verifying:
        await watch.wait_for_resolved("SigningKeysStale", job=service)


async def test_a_service_that_starts_without_signing_keys(
    broken: Installation, customer: Customer, watch: AlertWatch
) -> None:
    """Auth is stopped while ingest starts: ingest is up but not ready, and accepts requests once it has keys."""
    await customer.token("import")
    await asyncio.to_thread(broken.run, "stop", "auth")
    await asyncio.to_thread(broken.kill, "ingest")
    starting = asyncio.create_task(asyncio.to_thread(broken.try_run, "start", "ingest"))
    try:
        await watch.wait_for_alert("SigningKeysMissing", job="ingest")
        await watch.wait_for('up{job="ingest"} == 1')
        assert (await customer.send([customer.order()])).status == 503
    finally:
        await asyncio.to_thread(broken.run, "start", "auth")
    assert (await starting).returncode == 0
    await watch.wait_for_resolved("SigningKeysMissing", job="ingest")
    assert (await customer.send([customer.order()])).status == 202


async def test_the_shared_limit_away(rate_limit_store: Valkey, customer: Customer, watch: AlertWatch) -> None:
    async with background_orders(customer):
        await asyncio.to_thread(rate_limit_store.kill)
        try:
            await watch.wait_for_alert("SharedRateLimitUnavailable", job="ingest")
            await watch.wait_for_panel("runtime: Shared rate limit")
        finally:
            rate_limit_store.start()
        await watch.wait_for_resolved("SharedRateLimitUnavailable", job="ingest")


async def test_a_site_that_sends_too_much(broken: Installation, customer: Customer, tmp_path: Path) -> None:
    """Show the site, change its limit in a file, add the file: in force within seconds, and as quickly reverted."""
    before = json.loads((await asyncio.to_thread(broken.run_cli, "sites", "show", "608")).stdout)
    batch = [customer.order() for _ in range(10)]
    for limit, expected in ((5, 429), (before["recordsPerSecond"], 202)):
        file = tmp_path / "sites.json"
        file.write_text(json.dumps({"sites": [{**before, "recordsPerSecond": limit}]}), encoding="utf-8")
        await asyncio.to_thread(broken.run_cli, "sites", "add", str(file))
        added = time()

        async def is_in_force(status: int = expected) -> bool:
            return (await customer.send(batch)).status == status

        await until(is_in_force, deadline_s=10)
        assert time() - added < 5
