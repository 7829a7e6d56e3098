"""The runbook's failures, caused for real: the metric shows them, the alert fires, and both end with the failure."""

import asyncio
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest
from pymongo import MongoClient
from pymongo.database import Database

from bench.mixed_traffic import produce_dead_letters
from services.fulfilment.domain.purchase_order import PurchaseOrder
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation
from tests.observe.alert_watch import AlertWatch, background_orders

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

UNKNOWN = {"lineItems": [{"productId": "product3", "quantity": 1, "unitPrice": 1}]}


@pytest.mark.parametrize("service", ["validator", "status"])
async def test_a_consumer_that_stands_still(
    broken: Installation, customer: Customer, watch: AlertWatch, service: str
) -> None:
    """The process is stopped (SIGSTOP), then continues."""
    topic = {"validator": "orders.submitted.v1", "status": "jobs.events.v1"}[service]
    process = psutil.Process(broken.status()[service]["pid"])
    async with background_orders(customer):
        await watch.wait_for(f'rate(consumer_records_total{{topic="{topic}"}}[10s]) > 0')
        process.send_signal(signal.SIGSTOP)
        try:
            await watch.wait_for(f'up{{job="{service}"}} == 0')
            await watch.wait_for_alert("ServiceDown", job=service)
            await watch.wait_for_alert("ConsumerStalled", topic=topic)
            others = len(broken.endpoints["services"]) - 1
            await watch.wait_for_panel("overview: Services up", predicate=lambda value: value == others)
            await watch.wait_for_empty_panel("pipeline: Lag in seconds", group=service)
            await watch.wait_for_panel("pipeline: Records produced", topic=topic)
        finally:
            process.send_signal(signal.SIGCONT)
        await watch.wait_for_resolved("ServiceDown", job=service)
        await watch.wait_for_resolved("ConsumerStalled", topic=topic)


async def test_a_process_that_is_killed_again_and_again(
    broken: Installation, customer: Customer, watch: AlertWatch
) -> None:
    """It runs between two kills, so it is never down for long; an alert fires nevertheless, and nothing is lost."""
    jobs = []
    for _ in range(3):
        jobs.append((await customer.send_with_retry([customer.order()])).json["jobId"])
        await asyncio.to_thread(broken.kill, "validator")
        await watch.wait_for('up{job="validator"} == 0')
        await asyncio.to_thread(broken.run, "start", "validator")
        await watch.wait_for('up{job="validator"} == 1')
    await watch.wait_for_alert("ServiceRestarting", job="validator")
    await watch.wait_for_panel("runtime: Restarts", predicate=lambda value: value >= 3)
    for job in jobs:
        assert (await customer.wait_for_job(job))["summary"]["job"]["state"] == "COMPLETED"
    await watch.wait_for_resolved("ServiceRestarting", job="validator")


async def test_mongodb_away(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Status catches up after the outage; nothing is lost."""
    async with background_orders(customer):
        await asyncio.to_thread(broken.run, "stop", "mongodb")
        try:
            await watch.wait_for('increase(consumer_retries_total{group="status"}[30s]) > 0')
            await watch.wait_for('max(consumer_lag_seconds{group="status"}) > 5')
            await watch.wait_for_alert("ConsumerStalled", topic="jobs.events.v1")
            await watch.wait_for_alert("LagGrowing", group="status")
            await watch.wait_for_panel("pipeline: Retries", group="status")
            await watch.wait_for_panel("pipeline: Lag in seconds", group="status")
            await watch.wait_for_panel(
                "pipeline: Records consumed", predicate=lambda value: value == 0, topic="jobs.events.v1"
            )
            await watch.wait_for_panel("overview: Unavailable dependencies", group="status")
            reply = await customer.send_with_retry([customer.order()])
        finally:
            await asyncio.to_thread(broken.run, "start", "mongodb")
        await watch.wait_for_resolved("ConsumerStalled", topic="jobs.events.v1")
        await watch.wait_for_resolved("LagGrowing", group="status")
    await watch.wait_for('max(consumer_lag_seconds{group="status"}) == 0')
    final = await customer.wait_for_job(reply.json["jobId"])
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}


async def test_the_broker_away(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """Imports are answered 503, which customers notice and which burns the error budget."""
    async with background_orders(customer):
        await asyncio.to_thread(broken.run, "stop", "kafka")
        try:
            await watch.wait_for('increase(producer_sends_total{job="ingest", outcome="failed"}[30s]) > 0')
            await watch.wait_for('rate(http_request_seconds_count{job="ingest", status="503"}[10s]) > 0')
            await watch.wait_for_alert("AvailabilityBurnsFast", job="ingest")
            await watch.wait_for_alert("AvailabilityBurnsSlowly", job="ingest")
            await watch.wait_for_panel("overview: Errors", job="ingest")
            await watch.wait_for_panel("overview: Unavailable dependencies", job="ingest")
        finally:
            await asyncio.to_thread(broken.run, "start", "kafka")
        await watch.wait_for_resolved("AvailabilityBurnsFast", job="ingest")
        await watch.wait_for("max(consumer_lag_seconds) < 5")


async def test_jobs_without_a_good_record(customer: Customer, watch: AlertWatch) -> None:
    await asyncio.gather(*(customer.send_with_retry([customer.order(**UNKNOWN)]) for _ in range(12)))
    await watch.wait_for('increase(status_jobs_ended_total{state="FAILED"}[1m]) > 5')
    await watch.wait_for_alert("AllFailedJobs")
    await watch.wait_for_panel("business: Rejections by the validator, by code", code="PRODUCT_NOT_FOUND")
    await watch.wait_for_panel("runtime: Catalogue")
    await watch.wait_for_resolved("AllFailedJobs")


async def test_records_that_nobody_can_read(broken: Installation, watch: AlertWatch) -> None:
    await produce_dead_letters(broken.endpoints["kafka_bootstrap_servers"])
    for topic in ("orders.submitted.v1", "jobs.events.v1"):
        await watch.wait_for(f'dead_letters_total{{topic="{topic}"}} > 0')
        await watch.wait_for_alert("DeadLetters", topic=topic)
        await watch.wait_for_panel("pipeline: Dead letters", topic=topic)
    for topic in ("orders.submitted.v1", "jobs.events.v1"):
        await watch.wait_for_resolved("DeadLetters", topic=topic)


async def test_a_day_without_its_invoices(broken: Installation, customer: Customer, watch: AlertWatch) -> None:
    """A purchase order's day is over and its invoice cannot be stored; once it can, it is stored exactly once."""
    client: MongoClient[dict[str, Any]]
    with MongoClient(broken.endpoints["mongodb_uri"]) as client:
        database: Database[dict[str, Any]] = client.get_database("tillstream")
        database.command("collMod", "invoices", validator={"never": {"$exists": True}})
        try:
            assert (await customer.order_code("DEMO-INSTANT")).status == 202
            date_back(database)
            await watch.wait_for("fulfilment_overdue_purchase_orders > 0")
            await watch.wait_for_alert("InvoiceRunMissed")
            await watch.wait_for_panel("business: Overdue purchase orders")
            assert '"task": "close"' in broken.run("logs", "fulfilment", "-n", "1000")
            assert not database["invoices"].count_documents({})
        finally:
            database.command("collMod", "invoices", validator={})
        await watch.wait_for_resolved("InvoiceRunMissed")
        await watch.wait_for('fulfilment_invoices_total{kind="INVOICE"} == 1')
        assert database["invoices"].count_documents({}) == 1


def date_back(database: Database[dict[str, Any]]) -> None:
    """Move the only purchase order with its transactions to three days ago."""
    (today,) = database["purchase_orders"].find({"state": "OPEN"})
    day = (datetime.now(UTC) - timedelta(days=3)).date().isoformat()
    then = PurchaseOrder(site=today["site"], business_date=day, currency=today["currency"])
    dated = {"purchase_order": then.id, "business_date": day}
    database["transactions"].update_many({"purchase_order": today["_id"]}, {"$set": dated})
    database["purchase_orders"].delete_one({"_id": today["_id"]})
    database["purchase_orders"].insert_one({**today, "_id": then.id, "business_date": day})
