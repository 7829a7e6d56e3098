"""Quix Streams: a dataframe of orders, checked and written to one topic, committing at intervals.

Arguments: brokers, topic to read, topic to write, records. Prints one line of JSON. Leaves out the same as
`faststream_validate`.
"""

import json
import sys
import time
from typing import Any
from uuid import uuid4

from quixstreams import Application

from bench.peers.orders import decode, find_fault
from bench.tenant import PRODUCTS

BROKERS, SOURCE, TARGET, TOTAL = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
KNOWN = frozenset(f"product-{number:06d}" for number in range(PRODUCTS) if number % 50)
# Wall-clock and CPU seconds at the first and at the last record.
times: list[tuple[float, float]] = []


def check(value: bytes) -> bytes:
    now = time.perf_counter(), time.process_time()
    if not times:
        times.extend((now, now))
    times[1] = now
    fault = find_fault(decode(value), KNOWN)
    return value if fault is None else fault.encode()


def validate() -> dict[str, Any]:
    application = Application(
        broker_address=BROKERS,
        consumer_group=f"quixstreams-{uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        auto_create_topics=False,
        loglevel="ERROR",
        producer_extra_config={"acks": "all", "enable.idempotence": True, "linger.ms": 5},
    )
    source = application.topic(SOURCE, value_deserializer="bytes")
    target = application.topic(TARGET, value_serializer="bytes")
    application.dataframe(source).apply(check).to_topic(target)
    application.run(count=TOTAL)
    (wall_s, cpu_s), (last_wall_s, last_cpu_s) = times
    ended_cpu_s = time.process_time()
    # It notices only seconds later that it is done: after the last record only the time counts in which it works.
    return {
        "records": TOTAL,
        "wall_s": last_wall_s - wall_s + ended_cpu_s - last_cpu_s,
        "cpu_s": ended_cpu_s - cpu_s,
    }


if __name__ == "__main__":
    print(json.dumps(validate()), flush=True)
