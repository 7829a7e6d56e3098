"""aiohttp, pydantic, fastavro, and aiokafka's `send_and_wait` for each record. Arguments: port, brokers, topic.

Leaves out: authentication, rate limit, job events, the reports on rejected records, metrics, logs, and that a request
is published as a whole or not at all.
"""

import asyncio
import gzip
import sys

import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from bench.peers.orders import Order, encode_job, parse_many, parse_one


class Ingest:
    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic

    async def post(self, request: web.Request) -> web.Response:
        return await self._accept(parse_many(gzip.decompress(await request.read())))

    async def put(self, request: web.Request) -> web.Response:
        return await self._accept([parse_one(await request.read())])

    async def _accept(self, orders: list[Order]) -> web.Response:
        job_id, records = encode_job(orders)
        sends = [self._producer.send_and_wait(self._topic, key=key, value=value) for key, value in records]
        await (asyncio.gather(*sends) if len(sends) > 1 else sends[0])
        return web.json_response({"jobId": job_id, "total": len(orders)}, status=202)


async def serve(port: int, brokers: str, topic: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, enable_idempotence=True, acks="all", linger_ms=5, max_batch_size=1 << 20
    )
    await producer.start()
    ingest = Ingest(producer, topic)
    application = web.Application(client_max_size=1 << 20)
    application.router.add_post("/omnichannel/api/v1/{apiKey}/orders", ingest.post)
    application.router.add_put("/omnichannel/api/v1/{apiKey}/orders/users/{userId}", ingest.put)
    runner = web.AppRunner(application, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
