"""Crashes during imports, and what must hold nevertheless."""

import asyncio
from time import monotonic
from typing import Any

from tests.e2e.customer import Customer
from tests.e2e.installation import Installation

UNKNOWN = {"lineItems": [{"productId": "product3", "quantity": 1, "unitPrice": 1}]}
LINELESS: dict[str, Any] = {"lineItems": []}


def build_batch(customer: Customer) -> list[dict[str, Any]]:
    """Build a hundred orders: 95 valid, 3 with unknown products, 2 that ingest rejects."""
    return [
        *(customer.order() for _ in range(50)),
        *(customer.order(**UNKNOWN) for _ in range(3)),
        *(customer.order(**LINELESS) for _ in range(2)),
        *(customer.order() for _ in range(45)),
    ]


async def test_a_thousand_orders_reach_their_end_though_validator_and_status_are_killed(
    customer: Customer, installation: Installation
) -> None:
    """Breaks: validator and status die by SIGKILL while 1,000 orders are on their way, and start again.

    Must hold: every job that got its 202 ends, with each record counted once. Known by the jobs' own counts and by
    their events, one for each bad record.
    """
    jobs: list[str] = []
    for number in range(10):
        if number == 3:
            installation.kill("validator")
        if number == 6:
            installation.kill("status")
        reply = await customer.send_with_retry(build_batch(customer), zipped=True)
        assert reply.status == 202, reply
        assert reply.json["message"] == "Total records = 100. Success = 98. Failed = 2"
        jobs.append(reply.json["jobId"])
    await asyncio.to_thread(installation.run, "start", "validator")
    await asyncio.to_thread(installation.run, "start", "status")
    finals = await asyncio.gather(*(customer.wait_for_job(job, within_s=60) for job in jobs))
    for final in finals:
        assert final["summary"]["job"]["baggage"]["records"] == {"total": 100, "failed": 5, "success": 95}
        assert [event["attributes"]["index"] for event in final["result"]] == [50, 51, 52, 53, 54]


async def test_without_the_broker_the_answer_is_503_and_the_same_request_succeeds_later(
    customer: Customer, installation: Installation
) -> None:
    """Breaks: the broker is stopped and started.

    Must hold: imports meanwhile are answered 503 with a time to try again, and never 202; afterwards the same request
    is accepted and its job ends. Known by the answers.
    """
    batch = [customer.order(), customer.order()]
    await customer.token("import")
    await asyncio.to_thread(installation.run, "stop", "kafka")
    try:
        reply = await customer.send(batch)
        assert reply.status == 503, reply
        assert reply.code in {"BROKER_UNAVAILABLE", "UNAVAILABLE"}
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json.get("jobId"), "an unknown outcome names the job it may have become"
    finally:
        await asyncio.to_thread(installation.run, "start", "kafka")
    accepted = await customer.send_with_retry(batch, within_s=60)
    assert accepted.status == 202, accepted
    final = await customer.wait_for_job(accepted.json["jobId"], within_s=60)
    assert final["summary"]["job"]["baggage"]["records"] == {"total": 2, "failed": 0, "success": 2}


async def test_a_job_is_known_at_once_and_its_counts_never_shrink(customer: Customer) -> None:
    """A job can be queried as soon as its id is returned, and its counts never decrease."""
    reply = await customer.send_with_retry(build_batch(customer), zipped=True)
    decided, until = -1, monotonic() + 30
    while True:
        job = (await customer.events(reply.json["jobId"])).json["summary"]["job"]
        counts = job["baggage"]["records"]
        assert counts["failed"] + counts["success"] >= decided
        decided = counts["failed"] + counts["success"]
        if job["terminal"]:
            break
        assert monotonic() < until, job
        await asyncio.sleep(0.03)  # fewer requests per second than status' limit
    assert decided == 100
