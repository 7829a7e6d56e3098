"""A Kafka producer outside the installation: Confluent's client writes jobs of its own, past ingest."""

import asyncio
import io
import json
import random
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from time import time_ns
from typing import Any

import fastavro
from confluent_kafka import Producer

from sandbox import paths
from tests.faults.checker.clients import UNKNOWN_PRODUCT
from tests.faults.checker.ledger import Fate
from tests.faults.stack.tenants import PRODUCT

TOPIC = "orders.submitted.v1"
SEND_TIMEOUT_S = 60.0
PORTION = 100
UTC_1582_US = 12_219_292_800_000_000


class NotSentError(Exception):
    """Not all records were acknowledged."""


@dataclass
class DirectProducer:
    """Submits orders of one site."""

    bootstrap_servers: str
    site: int
    _producer: Producer = field(init=False)
    _schema: Any = field(init=False)
    _prefix: bytes = field(init=False)

    def __post_init__(self) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": int(SEND_TIMEOUT_S * 1000),
                # It would report every broken connection.
                "log_level": 0,
            }
        )
        self._schema = fastavro.parse_schema(json.loads((paths.SCHEMAS / "order.avsc").read_text()))
        ids = json.loads((paths.SCHEMAS / "ids.json").read_text())
        self._prefix = b"\0" + struct.pack(">I", next(iter(ids["order"].values())))

    async def submit(self, records: Mapping[str, Fate], secrets: Mapping[str, str], rng: random.Random) -> str:
        """Send a job with these records; return its id once all are acknowledged. Raises `NotSentError`."""
        now_us = time_ns() // 1000
        job_id = _time_uuid(now_us, rng)
        job = {"jobId": job_id, "total": len(records), "createdAt": now_us, "mode": "offline", "type": "orders"}
        failures: list[Any] = []
        for index, (order_id, fate) in enumerate(records.items()):
            value = self._value(order_id, fate, {**job, "index": index}, secrets[order_id])
            headers = {"site": self.site, "jobId": job_id, "total": len(records), "index": index}
            self._producer.produce(
                TOPIC,
                value,
                key=f"{self.site}||{order_id}".encode(),
                headers=[(name, str(one).encode()) for name, one in headers.items()],
                on_delivery=lambda error, _: failures.append(error) if error else None,
            )
            if index % PORTION == 0:
                self._producer.poll(0)
                await asyncio.sleep(0)
        waiting = await asyncio.to_thread(self._producer.flush, SEND_TIMEOUT_S + 1)
        if failures or waiting:
            raise NotSentError(f"{len(failures)} records were refused, {waiting} wait")
        return job_id

    def _value(self, order_id: str, fate: Fate, job: Mapping[str, Any], secret: str) -> bytes:
        line = {
            "productId": UNKNOWN_PRODUCT if fate is Fate.REJECTED else PRODUCT,
            "skuId": None,
            "quantity": 1,
            "unitPrice": Decimal("9.990000"),
        }
        now_us = job["createdAt"]
        order = {
            "site": self.site,
            "job": job,
            "acceptedAt": now_us,
            "id": order_id,
            "channel": None,
            "userId": "u1",
            "dateTime": now_us - 60_000_000,
            "utcOffsetMinutes": 0,
            "mode": "offline",
            "paymentMethod": None,
            "paymentKind": None,
            "emailHash": secret,
            "ccHash": None,
            "storeId": None,
            "regionId": None,
            "segmentIds": [],
            "segmentNames": [],
            "currency": "EUR",
            "couponCode": None,
            "couponValue": None,
            "lineItems": [line],
        }
        buffer = io.BytesIO()
        fastavro.schemaless_writer(buffer, self._schema, order)
        value = self._prefix + buffer.getvalue()
        return poisoned(value, int(job["index"])) if fate is Fate.POISON else value


def poisoned(value: bytes, number: int) -> bytes:
    """Bytes that no reader can decode, of several kinds."""
    return (
        value[:-3],
        b"",
        value + b"\0",
        b"\0\0\0\xff\xff" + value[5:],
        b"{}",
        value[:5] + b"\xff" * 40,
    )[number % 6]


def _time_uuid(now_us: int, rng: random.Random) -> str:
    """A version 1 UUID of this time, as jobs have."""
    ticks = (now_us + UTC_1582_US) * 10
    fields = (
        ticks & 0xFFFFFFFF,
        (ticks >> 32) & 0xFFFF,
        (ticks >> 48) & 0x0FFF | 0x1000,
        rng.getrandbits(6) | 0x80,
        rng.getrandbits(8),
        rng.getrandbits(48) | 0x010000000000,
    )
    return str(uuid.UUID(fields=fields))
