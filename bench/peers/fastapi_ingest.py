"""FastAPI and FastStream on uvicorn: `publish_batch` for a request's records. Arguments: port, brokers, topic.

Leaves out the same as `naive_ingest`.
"""

import gzip
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from faststream.kafka import KafkaBroker

from bench.peers.orders import encode_job, parse_many, parse_one

PORT, BROKERS, TOPIC = int(sys.argv[1]), sys.argv[2], sys.argv[3]
broker = KafkaBroker(
    BROKERS, enable_idempotence=True, acks="all", linger_ms=5, max_batch_size=1 << 20, apply_types=False, logger=None
)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await broker.connect()
    print("up", flush=True)
    yield
    await broker.stop()


app = FastAPI(lifespan=lifespan)


async def post(request: Request) -> dict[str, str | int]:
    job_id, records = encode_job(parse_many(gzip.decompress(await request.body())))
    await broker.publish_batch(*(value for _, value in records), topic=TOPIC)
    return {"jobId": job_id, "total": len(records)}


async def put(request: Request) -> dict[str, str | int]:
    job_id, ((key, value),) = encode_job([parse_one(await request.body())])
    await broker.publish(value, topic=TOPIC, key=key)
    return {"jobId": job_id, "total": 1}


app.post("/omnichannel/api/v1/{api_key}/orders", status_code=202)(post)
app.put("/omnichannel/api/v1/{api_key}/orders/users/{user_id}", status_code=202)(put)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=PORT, loop="uvloop", http="httptools", access_log=False, log_level="error")
