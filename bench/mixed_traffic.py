"""Valid and invalid requests and records of all kinds, so that every metric has a value."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from uuid import uuid4

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaProducer

IMPORT, STATUS, FULFILMENT, EVENTS = "/omnichannel/api/v1", "/common-status/v1", "/fulfilment/v1", "/events/v1"
CLIENT, SECRET = "5934de97c95e1ced", "2l9dr0jkink11ad49hg93it52d"  # the demo tenant, which exists in sandboxes only
API_KEY = "12345"
JOB_TIMEOUT_S = 30
_serial = count()


class MixedTraffic:
    """Traffic of the demo tenant."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self._base = base
        self._session = session
        self._tokens: dict[str, str] = {}

    async def run_once(self, kafka: str) -> None:
        """Send one round of everything; return when its jobs have ended and an endpoint was told of one."""
        async with self.endpoint() as told:
            jobs = await self.imports()
            await self.refusals()
            await produce_dead_letters(kafka)
            await self.codes()
            await asyncio.gather(*(self.wait_for_job(job) for job in jobs))
            async with asyncio.timeout(JOB_TIMEOUT_S):
                await told.wait()

    async def imports(self) -> list[str]:
        """Send valid and invalid orders and returns, in batches and alone, in both modes; return the jobs' ids."""
        jobs = [
            await self.post("orders", [build_order(), build_order(unknown=True), build_order(lines=False)]),
            await self.post("orders", [build_order() for _ in range(10)], mode="online"),
            await self.post("orders", [build_order(unknown=True)]),
            await self.post("returns", [build_return(), build_return()]),
            await self.put("orders", build_order()),
            await self.put("orders", build_order()),
        ]
        return [job for job in jobs if job]

    async def refusals(self) -> None:
        """Provoke 4xx responses of all kinds."""
        await self._call("POST", f"{IMPORT}/{API_KEY}/orders", data=b"{", headers=await self._json("import"))
        await self._call("POST", f"{IMPORT}/{API_KEY}/orders", data=b"[]", headers={"Authorization": "Bearer nonsense"})
        await self._call("GET", "/common-status/v1/12345/job/none", headers=await self._json("status"))
        form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": "wrong"}
        await self._call("POST", f"{IMPORT}/oauth2/token", data=form)
        too_many = gzip.compress(json.dumps([build_order() for _ in range(100)]).encode(), mtime=0)
        headers = {**await self._json("import"), "Content-Encoding": "gzip"}
        requests = [self._call("POST", f"{IMPORT}/{API_KEY}/orders", data=too_many, headers=headers) for _ in range(3)]
        await asyncio.gather(*requests)

    async def codes(self) -> None:
        """Order codes that are available at once and codes that never are; do nothing without fulfilment."""
        try:
            headers = await self._json("fulfilment")
        except aiohttp.ClientError:
            return
        for sku in ("DEMO-INSTANT", "DEMO-NEVER", "DEMO-CANCEL", "NOT-A-SKU"):
            body = json.dumps({"products": [{"sku": sku, "quantity": 2}]})
            placed = await self._call("POST", f"{FULFILMENT}/orders", data=body, headers=headers)
            if "transactionId" in placed:
                path = f"{FULFILMENT}/orders/{placed['transactionId']}/codes"
                await self._call("GET", path, headers=headers)

    @asynccontextmanager
    async def endpoint(self) -> AsyncIterator[asyncio.Event]:
        """Receive the site's events as an endpoint on this machine; set once one has come."""
        told = asyncio.Event()

        async def receive(_request: web.Request) -> web.Response:
            told.set()
            return web.Response()

        app = web.Application()
        app.router.add_post("/", receive)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        headers, path = await self._json("events"), f"{EVENTS}/{API_KEY}/endpoints"
        body = json.dumps({"url": f"http://{host}:{port}/", "types": ["job.finished"]})
        created = await self._call("POST", path, data=body, headers=headers)
        try:
            yield told
        finally:
            await self._call("DELETE", f"{path}/{created['id']}", headers=headers)
            await runner.cleanup()

    async def wait_for_job(self, job: str) -> None:
        """Wait for the job's end."""
        headers = {**await self._json("status"), "Prefer": "wait=5"}
        async with asyncio.timeout(JOB_TIMEOUT_S):
            while True:
                report = await self._call("GET", f"{STATUS}/{API_KEY}/job/{job}", headers=headers)
                if report.get("summary", {}).get("job", {}).get("terminal"):
                    return
                await asyncio.sleep(0.1)

    async def post(self, kind: str, records: list[dict[str, Any]], *, mode: str = "offline") -> str | None:
        path, body = f"{IMPORT}/{API_KEY}/{kind}?mode={mode}", json.dumps(records)
        return (await self._call("POST", path, data=body, headers=await self._json("import"))).get("jobId")

    async def put(self, kind: str, record: dict[str, Any]) -> str | None:
        path, body = f"{IMPORT}/{API_KEY}/{kind}/users/u1", json.dumps(record)
        return (await self._call("PUT", path, data=body, headers=await self._json("import"))).get("jobId")

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        async with self._session.request(method, self._base + path, **options) as response:
            try:
                body = await response.json(content_type=None)
            except ValueError:
                return {}
        return body if isinstance(body, dict) else {}

    async def _json(self, api: str) -> dict[str, str]:
        base = {"import": IMPORT, "status": STATUS, "fulfilment": FULFILMENT, "events": EVENTS}[api]
        if api not in self._tokens:
            form = {"grant_type": "client_credentials", "client_id": CLIENT, "client_secret": SECRET}
            async with self._session.post(f"{self._base}{base}/oauth2/token", data=form) as response:
                response.raise_for_status()
                self._tokens[api] = (await response.json())["access_token"]
        return {"Authorization": f"Bearer {self._tokens[api]}", "Content-Type": "application/json"}


async def produce_dead_letters(kafka: str) -> None:
    """Produce records that no consumer can decode."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka)
    await producer.start()
    try:
        await producer.send_and_wait("orders.submitted.v1", b"not Avro", key=b"608|x|1")
        await producer.send_and_wait("jobs.events.v1", b"\x00\x00\x00\x00\x01junk", key=b"608|x")
    finally:
        await producer.stop()


def build_order(*, unknown: bool = False, lines: bool = True) -> dict[str, Any]:
    product = "product3" if unknown else "4556"
    return {
        "id": f"v-{uuid4().hex[:8]}-{next(_serial)}",
        "userId": "u1",
        "dateTime": "2024-05-01T10:00:00+02:00",
        "lineItems": [{"productId": product, "quantity": 1, "unitPrice": 9.99}] if lines else [],
    }


def build_return() -> dict[str, Any]:
    return {
        "orderId": f"v-{uuid4().hex[:8]}",
        "returnId": f"r-{next(_serial)}",
        "userId": "u1",
        "dateTime": "2024-05-02T10:00:00+02:00",
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
    }
