"""Orders for the peers in Python: pydantic models, and Avro through fastavro."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import fastavro
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic.alias_generators import to_camel

SCHEMA = fastavro.parse_schema(
    json.loads((Path(__file__).resolve().parents[2] / "schemas" / "order.avsc").read_text(encoding="utf-8"))
)
# The wire format's header; the id is of no importance here.
PREFIX = b"\0\0\0\0\1"
Amount = Annotated[Decimal, Field(max_digits=18, decimal_places=6)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class Line(_Model):
    product_id: Annotated[str, Field(min_length=1, max_length=128)]
    sku_id: Annotated[str, Field(max_length=128)] | None = None
    quantity: Annotated[int, Field(gt=0)]
    unit_price: Amount


class Order(_Model):
    id: Annotated[str, Field(min_length=1, max_length=128)]
    channel: Annotated[str, Field(max_length=128)] | None = None
    user_id: Annotated[str, Field(min_length=1, max_length=256)]
    date_time: datetime
    payment_method: Annotated[str, Field(max_length=64)] | None = None
    email_hash: Annotated[str, Field(max_length=256)] | None = None
    cc_hash: Annotated[str, Field(max_length=256)] | None = None
    store_id: Annotated[str, Field(max_length=256)] | None = None
    region_id: int | None = None
    segment_ids: list[str] = []
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "USD"
    coupon_code: Annotated[str, Field(max_length=128)] | None = None
    coupon_value: Amount | None = None
    line_items: Annotated[list[Line], Field(min_length=1, max_length=500)]


parse_one = TypeAdapter(Order).validate_json
parse_many = TypeAdapter(Annotated[list[Order], Field(min_length=1, max_length=100)]).validate_json


def encode_job(orders: list[Order]) -> tuple[str, list[tuple[bytes, bytes]]]:
    """Return a new job's id, and key and value of each order."""
    job_id, now = str(uuid4()), datetime.now(UTC)
    return job_id, [
        (f"990|{order.channel or ''}|{order.id}".encode(), _encode(order, job_id, index, len(orders), now))
        for index, order in enumerate(orders)
    ]


def _encode(order: Order, job_id: str, index: int, total: int, now: datetime) -> bytes:
    offset = order.date_time.utcoffset()
    record = {
        **order.model_dump(by_alias=True),
        "site": 990,
        "job": {
            "jobId": job_id,
            "index": index,
            "total": total,
            "createdAt": now,
            "mode": "offline",
            "type": "orders",
        },
        "acceptedAt": now,
        "utcOffsetMinutes": 0 if offset is None else int(offset.total_seconds()) // 60,
        "mode": "offline",
    }
    out = io.BytesIO(PREFIX)
    out.seek(len(PREFIX))
    fastavro.schemaless_writer(out, SCHEMA, record)
    return out.getvalue()


def decode(value: bytes) -> dict[str, Any]:
    """Decode the order in a message."""
    record = fastavro.schemaless_reader(io.BytesIO(value[len(PREFIX) :]), SCHEMA, None)
    assert isinstance(record, dict)
    return record


def find_fault(order: dict[str, Any], known: frozenset[str]) -> str | None:
    """Return why an order is not valid, or None: the catalogue and a few of the rules."""
    for line in order["lineItems"]:
        if line["productId"] not in known:
            return f"unknown product {line['productId']}"
        if line["quantity"] < 1:
            return "invalid quantity"
    return None if len(order["currency"]) == 3 else "invalid currency"
