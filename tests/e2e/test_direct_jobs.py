"""Jobs of teams that produce to the topics directly, as the status API shows them."""

import asyncio
import json
from typing import Any
from uuid import uuid1

from tests.e2e.confluent_producer import RawRecord, produce, serialize_orders
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation


def counts(report: Any) -> dict[str, int]:
    found: dict[str, int] = report["summary"]["job"]["baggage"]["records"]
    return found


async def test_a_record_that_cannot_be_read_fails_in_the_job_that_its_headers_name(
    installation: Installation, customer: Customer
) -> None:
    """It becomes a dead letter, and the job ends nevertheless."""
    job_id = str(uuid1())
    good, broken = await asyncio.to_thread(serialize_orders, installation, job_id, [{}, {}])
    named = {"site": "608", "jobId": job_id, "total": "2", "index": "1"}
    await asyncio.to_thread(produce, installation, [RawRecord(good), RawRecord(broken[:-5], named)])
    final = await customer.wait_for_job(job_id)
    assert counts(final) == {"total": 2, "failed": 1, "success": 1}
    (event,) = final["result"]
    assert (event["level"], event["attributes"]["code"]) == ("ERROR", "UNPROCESSABLE")

    listed = await asyncio.to_thread(installation.run_cli, "dead-letters", "list", "--json", "--reason", "undecodable")
    letter = json.loads(listed.stdout.splitlines()[-1])
    assert letter["source"].startswith("orders.submitted.v1/0/")
    shown = await asyncio.to_thread(installation.run_cli, "dead-letters", "show", letter["name"])
    assert f"jobId = {job_id}" in shown.stdout


async def test_nothing_is_normalised_for_direct_producers(installation: Installation, customer: Customer) -> None:
    job_id = str(uuid1())
    values = await asyncio.to_thread(serialize_orders, installation, job_id, [{"currency": "usd"}, {}])
    await asyncio.to_thread(produce, installation, map(RawRecord, values))
    final = await customer.wait_for_job(job_id)
    assert counts(final) == {"total": 2, "failed": 1, "success": 1}
    assert [(event["level"], event["attributes"]["code"]) for event in final["result"]] == [
        ("WARNING", "INVALID_CURRENCY")
    ]


async def test_two_sites_do_not_meet_in_one_job(
    installation: Installation, customer: Customer, other_customer: Customer
) -> None:
    job_id = str(uuid1())
    (ours,) = await asyncio.to_thread(serialize_orders, installation, job_id, [{}])
    theirs = await asyncio.to_thread(serialize_orders, installation, job_id, [{"site": 609}] * 2)
    await asyncio.to_thread(produce, installation, map(RawRecord, [ours, *theirs]))
    assert counts(await customer.wait_for_job(job_id)) == {"total": 1, "failed": 0, "success": 1}
    assert counts(await other_customer.wait_for_job(job_id)) == {"total": 2, "failed": 0, "success": 2}


async def test_where_records_disagree_about_their_job_the_first_wins(
    installation: Installation, customer: Customer
) -> None:
    """The first says that the job has two records, the others that it has three: the third is not counted."""
    job_id = str(uuid1())
    first, _ = await asyncio.to_thread(serialize_orders, installation, job_id, [{}, {}])
    _, second, third = await asyncio.to_thread(serialize_orders, installation, job_id, [{}, {}, {}])
    await asyncio.to_thread(produce, installation, map(RawRecord, [first, third, second]))
    final = await customer.wait_for_job(job_id)
    assert counts(final) == {"total": 2, "failed": 0, "success": 2}
    assert final["summary"]["job"]["state"] == "COMPLETED"
