"""Broken releases under load: which alerts fire, and that a rollback fixes them."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.e2e.customer import Customer
from tests.e2e.installation import Installation
from tests.observe.alert_watch import AlertWatch, background_orders
from tests.observe.releases import replaced_service, wait_ready

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ORDERS = "orders.submitted.v1"
FAILING_INGEST = """
import runpy
from services.ingest.flows import accept

async def fail(*_):
    raise KeyError("unexpected")

assert accept.read_records
accept.read_records = fail
runpy.run_module("services.ingest", run_name="__main__")
"""
BLIND_VALIDATOR = """
import runpy
from services.validator.domain.submitted_record import DeadLetterReason
from services.validator.adapters.record_reader import SubmittedRecordReader

assert SubmittedRecordReader.match_fast and SubmittedRecordReader.decode
SubmittedRecordReader.match_fast = lambda *_, **__: None
SubmittedRecordReader.decode = lambda *_: DeadLetterReason("undecodable", "this release cannot")
runpy.run_module("services.validator", run_name="__main__")
"""


async def test_settings_that_are_not_usable(
    broken: Installation, customer: Customer, watch: AlertWatch, tmp_path: Path
) -> None:
    """The process exits at once and logs the reason; nothing is lost in the meantime."""
    invalid = {"KAFKA_SESSION_TIMEOUT_MS": "soon", "DEAD_LETTER_MAX_RATIO": "7"}
    async with background_orders(customer):
        async with replaced_service(
            broken, "validator", tmp_path / "log", "-m", "services.validator", settings=invalid
        ) as process:
            assert await asyncio.to_thread(process.running.wait, 30) == 2
            assert all(process.lines(name) for name in invalid)
            await watch.wait_for_alert("ServiceDown", job="validator")
            await watch.wait_for_alert("ConsumerStalled", topic=ORDERS)
            reply = await customer.send_with_retry([customer.order()])
        await watch.wait_for_resolved("ServiceDown", job="validator")
        await watch.wait_for_resolved("ConsumerStalled", topic=ORDERS)
    assert (await customer.wait_for_job(reply.json["jobId"]))["summary"]["job"]["state"] == "COMPLETED"


async def test_requests_that_fail(broken: Installation, customer: Customer, watch: AlertWatch, tmp_path: Path) -> None:
    """It is ready and answers 500; the request id leads to the traceback."""
    async with background_orders(customer):
        async with replaced_service(broken, "ingest", tmp_path / "log", "-c", FAILING_INGEST) as process:
            await wait_ready(broken.endpoints["services"]["ingest"]["operations"])
            await watch.wait_for_alert("AvailabilityBurnsFast", job="ingest")
            await watch.wait_for_panel("overview: Errors", job="ingest")
            reply = await customer.send([customer.order()])
            assert reply.status == 500
            (line,) = process.lines(reply.json["requestId"])
            assert json.loads(line)["message"] == "request failed"
            assert "unexpected" in json.loads(line)["exception"]
        assert (await customer.send_with_retry([customer.order()])).status == 202
        await watch.wait_for_resolved("AvailabilityBurnsFast", job="ingest")


async def test_records_that_a_release_cannot_read(
    broken: Installation, customer: Customer, watch: AlertWatch, tmp_path: Path
) -> None:
    """They become dead letters and their jobs fail, without rejections; after the rollback they are replayed."""
    async with (
        replaced_service(broken, "validator", tmp_path / "log", "-c", BLIND_VALIDATOR),
        background_orders(customer),
    ):
        await watch.wait_for_alert("DeadLetters", topic=ORDERS)
        await watch.wait_for_alert("AllFailedJobs")
        await watch.wait_for_panel("business: Verdicts", outcome="unprocessable")
        await watch.wait_for_panel("pipeline: Dead letters", topic=ORDERS)
        reply = await customer.send_with_retry([customer.order()])
        assert (await customer.wait_for_job(reply.json["jobId"]))["summary"]["job"]["state"] == "FAILED"
    replay = ("dead-letters", "replay", "--topic", ORDERS, "--reason", "undecodable", "--since", "10m")
    done = [(await asyncio.to_thread(broken.run_cli, *replay)).stdout.split() for _ in range(2)]
    assert int(done[0][0]) > 1, done
    assert done[1][0] == "0", done
    await watch.wait_for_panel("business: Verdicts", outcome="accepted")
    await watch.wait_for('sum(consumer_lag_records{group="validator"}) == 0')
    # The late records were processed, but a job that has ended does not change.
    assert (await customer.wait_for_job(reply.json["jobId"]))["summary"]["job"]["state"] == "FAILED"
