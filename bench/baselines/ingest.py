"""Baseline of ingest: inflate, decode, hand-written Avro, one batch, acknowledgement, 202.

Arguments: port, brokers, topic. Its records are those of ingest: key, value and headers. No token, rate limit, rule,
note, job event, metric or log. Concurrent PUTs share batches, two of which are in flight, so that it is never idle.
"""

import asyncio
import json
import sys
import zlib
from itertools import cycle
from pathlib import Path
from time import time_ns
from uuid import uuid4

import msgspec
import uvloop
from aiohttp import web
from aiokafka import AIOKafkaProducer

from bench.baselines.avro import Order, encode, encode_amount, encode_head
from bench.tenant import SITE

MAX_FLUSHES, MAX_BATCH_RECORDS = 2, 500
_SCHEMA_ID = max(json.loads((Path(__file__).parents[2] / "schemas" / "ids.json").read_text())["order"].values())
_PREFIX = b"\0" + _SCHEMA_ID.to_bytes(4, "big")
_INDEXES = [b"%d" % index for index in range(100)]
# Amounts are encoded as they are read.
_many = msgspec.json.Decoder(list[Order], float_hook=encode_amount).decode
_one = msgspec.json.Decoder(Order, float_hook=encode_amount).decode

Headers = list[tuple[str, bytes]]
Record = tuple[bytes, bytes, Headers]


def build_job(orders: list[Order]) -> tuple[str, list[Record]]:
    """Return the id of a new job, and its records."""
    job_id, total = str(uuid4()), len(orders)
    head = encode_head(_PREFIX, SITE, job_id, time_ns() // 1000, total)
    common = [("site", b"%d" % SITE), ("jobId", job_id.encode()), ("total", b"%d" % total)]
    return job_id, [
        (
            f"{SITE}|{order.channel}|{order.id}".encode(),
            encode(head, index, order),
            [*common, ("index", _INDEXES[index])],
        )
        for index, order in enumerate(orders)
    ]


class Baseline:
    """The two operations of the import API."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partitions: int) -> None:
        self._producer = producer
        self._topic = topic
        # aiokafka's wait for a free batch is unfair among many waiters.
        self._partition_locks = [asyncio.Lock() for _ in range(partitions)]
        self._partitions = cycle(range(partitions))
        self._pending: list[tuple[Record, asyncio.Future[None]]] = []
        self._flushes: set[asyncio.Task[None]] = set()

    async def post(self, request: web.Request) -> web.Response:
        body = zlib.decompressobj(31).decompress(await request.read(), 4 << 20)
        job_id, records = build_job(_many(body))
        await self._send(records)
        return self._accepted(job_id, len(records))

    async def put(self, request: web.Request) -> web.Response:
        job_id, (record,) = build_job([_one(await request.read())])
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._pending.append((record, done))
        if len(self._flushes) < MAX_FLUSHES:
            flush = loop.create_task(self._flush())
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)
        await done
        return self._accepted(job_id, 1)

    async def _flush(self) -> None:
        while self._pending:
            batch, self._pending = self._pending[:MAX_BATCH_RECORDS], self._pending[MAX_BATCH_RECORDS:]
            await self._send([record for record, _ in batch])
            for _, done in batch:
                done.set_result(None)

    async def _send(self, records: list[Record]) -> None:
        batch = self._producer.create_batch()
        for key, value, headers in records:
            batch.append(key=key, value=value, headers=headers, timestamp=None)
        batch.close()
        partition = next(self._partitions)
        async with self._partition_locks[partition]:
            sent = await self._producer.send_batch(batch, self._topic, partition=partition)
        await sent

    @staticmethod
    def _accepted(job_id: str, total: int) -> web.Response:
        body = f'{{"jobId":"{job_id}","total":{total}}}'.encode()
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
