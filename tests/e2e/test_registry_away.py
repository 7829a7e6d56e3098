"""A schema registry that is away holds up only the partitions whose next record names a schema of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid1

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.confluent_producer import RawRecord, produce, serialize_orders
from tests.e2e.customer import Customer
from tests.e2e.installation import Installation
from tests.e2e.test_clocks import running

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

PARTITIONS = 6
# No schema of this project has it.
UNKNOWN_ID = 77_777


class Registry:
    """A registry with all schemas of the installation's, and under `UNKNOWN_ID` the one of `alias`."""

    def __init__(self, upstream: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._session = session
        self.alias = 0
        self.is_away = False
        self.asked_for_unknown = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Answer as the installation's registry does."""
        path = request.path
        if path == f"/schemas/ids/{UNKNOWN_ID}":
            self.asked_for_unknown += 1
            path = f"/schemas/ids/{self.alias}"
        if self.is_away:
            raise web.HTTPServiceUnavailable
        body = await request.read() if request.can_read_body else None
        headers = {"Content-Type": request.headers["Content-Type"]}
        async with self._session.request(request.method, self._upstream + path, data=body, headers=headers) as reply:
            return web.Response(status=reply.status, body=await reply.read(), content_type="application/json")


@pytest.fixture
async def registry(installation: Installation, session: aiohttp.ClientSession) -> AsyncIterator[tuple[Registry, str]]:
    """A registry that can be away, and its address."""
    made = Registry(installation.endpoints["registry_url"], session)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield made, f"http://{host}:{port}"
    await runner.cleanup()


def with_unknown_schema(value: bytes) -> bytes:
    """Return a record that names `UNKNOWN_ID` as its schema."""
    return value[:1] + UNKNOWN_ID.to_bytes(4, "big") + value[5:]


async def test_only_the_partition_of_an_unknown_schema_waits_for_the_registry(
    installation: Installation, customer: Customer, registry: tuple[Registry, str], tmp_path: Path
) -> None:
    """Breaks: the registry is away when one record comes that names a schema of it.

    Must hold: the records in front of it and all of other partitions reach their outcomes meanwhile; it and those
    behind it do when the registry is back. Known by their jobs.
    """
    made, url = registry
    in_front, unknown, behind, elsewhere = (str(uuid1()) for _ in range(4))
    values = {
        job: await asyncio.to_thread(serialize_orders, installation, job, [{}] * total)
        for job, total in ((in_front, 1), (unknown, 1), (behind, 1), (elsewhere, PARTITIONS - 1))
    }
    made.alias = int.from_bytes(values[unknown][0][1:5], "big")
    await asyncio.to_thread(installation.run, "stop", "validator")
    try:
        with running(installation, "validator", clock_offset_s=0, log=tmp_path / "log", SCHEMA_REGISTRY_URL=url):
            # It has started, and knows the ids of the schemas that it ships with.
            first = await customer.send_with_retry([customer.order()])
            await customer.wait_for_job(first.json["jobId"], within_s=60)
            made.is_away = True
            records = [values[in_front][0], with_unknown_schema(values[unknown][0]), values[behind][0]]
            await asyncio.to_thread(produce, installation, map(RawRecord, records))
            for partition, value in enumerate(values[elsewhere], start=1):
                await asyncio.to_thread(produce, installation, [RawRecord(value)], partition=partition)
            for job in (in_front, elsewhere):
                await customer.wait_for_job(job, within_s=60)
            assert made.asked_for_unknown
            for job in (unknown, behind):
                assert (await customer.events(job)).status == 404
            made.is_away = False
            for job in (unknown, behind):
                final = await customer.wait_for_job(job, within_s=60)
                assert final["summary"]["job"]["baggage"]["records"] == {"total": 1, "failed": 0, "success": 1}
    finally:
        await asyncio.to_thread(installation.run, "start", "validator")
