"""Baseline of the validator: poll, decode the product ids, look them up, one batch per partition, commit.

Arguments: brokers, topic to read, topic to write, records. Prints one line of JSON. No rule but the catalogue's, no
forwarded records, no job events.
"""

import asyncio
import json
import sys
import time
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from bench.baselines.avro import decode_ids, encode_verdict
from bench.tenant import PRODUCTS

KNOWN = {b"product-%06d" % number for number in range(PRODUCTS) if number % 50}


async def validate(brokers: str, source: str, target: str, total: int) -> None:
    consumer = AIOKafkaConsumer(
        source,
        bootstrap_servers=brokers,
        group_id=f"baseline-{uuid4().hex[:8]}",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
    )
    producer = AIOKafkaProducer(
        bootstrap_servers=brokers, enable_idempotence=True, acks="all", linger_ms=0, max_batch_size=8 << 20
    )
    await producer.start()
    await consumer.start()
    while not consumer.assignment():
        await consumer.getmany(timeout_ms=10, max_records=1)
    await consumer.seek_to_beginning()
    wall, cpu, done = time.perf_counter(), time.process_time(), 0
    while done < total:
        sent = []
        for partition, records in (await consumer.getmany(timeout_ms=1000, max_records=4_000)).items():
            batch = producer.create_batch()
            for record in records:
                job, index, order_id, products = decode_ids(record.value)
                unknown = next((product for product in products if product not in KNOWN), None)
                batch.append(key=record.key, value=encode_verdict(job, index, order_id, unknown), timestamp=None)
            batch.close()
            sent.append(await producer.send_batch(batch, target, partition=partition.partition))
            done += len(records)
        if sent:
            await asyncio.gather(*sent)
            await consumer.commit()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({"records": done, "wall_s": wall, "cpu_s": cpu}), flush=True)
    await consumer.stop()
    await producer.stop()


if __name__ == "__main__":
    asyncio.run(validate(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
