"""FastStream: a batch subscriber that checks and publishes, committing behind it.

Arguments: brokers, topic to read, topic to write, records. Prints one line of JSON. Leaves out: most rules, job events,
dead letters, and what happens when a record cannot be read.
"""

import asyncio
import json
import sys
import time
from uuid import uuid4

from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from bench.peers.orders import decode, find_fault
from bench.tenant import PRODUCTS

BROKERS, SOURCE, TARGET, TOTAL = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
KNOWN = frozenset(f"product-{number:06d}" for number in range(PRODUCTS) if number % 50)
broker = KafkaBroker(
    BROKERS, enable_idempotence=True, acks="all", max_batch_size=8 << 20, apply_types=False, logger=None
)
finished = asyncio.Event()
spent = {"records": 0, "wall_s": 0.0, "cpu_s": 0.0}


async def check(values: list[bytes]) -> None:
    if not spent["records"]:
        spent["wall_s"], spent["cpu_s"] = -time.perf_counter(), -time.process_time()
    verdicts = []
    for value in values:
        fault = find_fault(decode(value), KNOWN)
        verdicts.append(value if fault is None else fault.encode())
    await broker.publish_batch(*verdicts, topic=TARGET)
    spent["records"] += len(values)
    if spent["records"] >= TOTAL:
        finished.set()


subscribe = broker.subscriber(
    SOURCE,
    group_id=f"faststream-{uuid4().hex[:8]}",
    auto_offset_reset="earliest",
    batch=True,
    max_records=4_000,
    max_partition_fetch_bytes=8 << 20,
    ack_policy=AckPolicy.ACK,
    decoder=lambda message: message.body,
)
subscribe(check)


async def validate() -> None:
    await broker.start()
    await finished.wait()
    spent["wall_s"] += time.perf_counter()
    spent["cpu_s"] += time.process_time()
    print(json.dumps(spent), flush=True)
    await broker.stop()


if __name__ == "__main__":
    asyncio.run(validate())
