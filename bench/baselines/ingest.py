"""Baseline of ingest: inflate, decode, hand-written Avro, one batch, acknowledgement, 202.

Arguments: port, brokers, topic. No token, rate limit, rule, note, metric or log; concurrent PUTs share a batch.
"""

import asyncio
import sys
import zlib
from itertools import cycle
from time import time
from uuid import uuid4

import msgspec
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from bench.baselines.avro import Order, encode, encode_text, encode_varint

_many = msgspec.json.Decoder(list[Order]).decode
_one = msgspec.json.Decoder(Order).decode


class Baseline:
    """The two operations of the import API."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        # aiokafka's wait for a free batch is unfair among many waiters.
        self._partition_locks = [asyncio.Lock() for _ in range(partitions)]
        self._partitions = cycle(range(partitions))
        self._pending: list[tuple[bytes, bytes, asyncio.Future[None]]] = []
        self._send_lock = asyncio.Lock()

    async def post(self, request: web.Request) -> web.Response:
        body = zlib.decompressobj(31).decompress(await request.read(), 4 << 20)
        job, head = self._job()
        values = [encode(head, index, order) for index, order in enumerate(_many(body))]
        await self._send([(job, value) for value in values])
        return self._accepted(job, len(values))

    async def put(self, request: web.Request) -> web.Response:
        job, head = self._job()
        done = asyncio.get_running_loop().create_future()
        self._pending.append((job, encode(head, 0, _one(await request.read())), done))
        async with self._send_lock:
            if self._pending:
                batch, self._pending = self._pending, []
                await self._send([(key, value) for key, value, _ in batch])
                for _, _, future in batch:
                    future.set_result(None)
        await done
        return self._accepted(job, 1)

    async def _send(self, records: list[tuple[bytes, bytes]]) -> None:
        batch = self._producer.create_batch()
        for key, value in records:
            batch.append(key=key, value=value, timestamp=None)
        batch.close()
        partition = next(self._partitions)
        async with self._partition_locks[partition]:
            sent = await self._producer.send_batch(batch, self._topic, partition=partition)
        await sent

    @staticmethod
    def _job() -> tuple[bytes, bytes]:
        job = str(uuid4())
        return job.encode(), encode_text(job) + encode_text("6a700f55b7059e38") + encode_varint(int(time() * 1000))

    @staticmethod
    def _accepted(job: bytes, total: int) -> web.Response:
        body = b'{"jobId":"%s","total":%d}' % (job, total)
        return web.Response(status=202, body=body, content_type="application/json")


async def serve(port: int, brokers: str, topic: str) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, enable_idempotence=True, acks="all", linger_ms=0, max_batch_size=1 << 20
    )
    await producer.start()
    baseline = Baseline(producer, topic, len(await producer.partitions_for(topic)))
    application = web.Application(client_max_size=1 << 20)
    application.router.add_post("/omnichannel/api/v1/{apiKey}/orders", baseline.post)
    application.router.add_put("/omnichannel/api/v1/{apiKey}/orders/users/{userId}", baseline.put)
    runner = web.AppRunner(application, access_log=None, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print("up", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
