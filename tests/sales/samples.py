"""Records, requests and surroundings for the tests of `sales`."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import yaml

from services.avro.codec import Codec
from services.jobs.codec import JobEventCodec
from services.jobs.events import (
    Expired,
    Fact,
    Failure,
    Fault,
    JobEvent,
    JobHeader,
    JobKey,
    JobRef,
    Judged,
    Opened,
    OutcomeRun,
)
from services.sales.batch import Batch, ImportTarget, SiteDefaults
from services.sales.import_request import read_batch
from services.sales.records import Order, OrderLine, Return, ReturnLine, SalesRecord
from services.sales.wire import order_codec, return_codec

HERE = Path(__file__).parent
SCHEMAS = HERE.parents[1] / "schemas"
NOW_US = 1_750_000_000_000_000
CURRENCIES = frozenset({"USD", "EUR", "JPY"})
SITE = 608
HEADER = JobHeader(JobKey(SITE, "f29dd805-0156-11ee-ad68-7d780afc9f2c"), 100, NOW_US, "offline", "orders")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = frozenset({"accepted_at", "created_at", "date_time", "at"})


def definition(name: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8"))
    return value


ORDERS, RETURNS = order_codec(definition("order")), return_codec(definition("return"))
JOB_EVENTS = JobEventCodec(definition("job_event"))
PARSED = {name: fastavro.parse_schema(definition(name)) for name in ("order", "return", "job_event")}


def cases(name: str) -> list[dict[str, Any]]:
    """The rows of a table in `cases/`."""
    rows: list[dict[str, Any]] = yaml.safe_load((HERE / "cases" / f"{name}.yaml").read_text(encoding="utf-8"))
    return rows


def title(case: Mapping[str, Any]) -> str:
    return str(case["case"])


def read(
    body: bytes,
    *,
    kind: str = "orders",
    user: str | None = None,
    mode: str | None = None,
    zone: tzinfo = UTC,
    channel: str | None = None,
    strict: bool = False,
) -> Batch:
    """Read a body as ingest does."""
    return read_batch(
        body,
        target=ImportTarget(kind, user, mode),
        defaults=SiteDefaults(SITE, zone, channel),
        now_us=NOW_US,
        currencies=CURRENCIES,
        strict_json=strict,
    )


def _absent(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Every field absent: the samples state what tests look at, and know nothing of later optional fields."""
    return dict.fromkeys(struct.__struct_fields__)


def an_order(**changes: Any) -> Order:
    values: dict[str, Any] = {
        "site": SITE,
        "job": None,
        "accepted_at": NOW_US,
        "id": "1723ABC",
        "channel": "6a700f55b7059e38",
        "user_id": "userA2",
        "date_time": NOW_US - 1,
        "utc_offset_minutes": 540,
        "mode": "offline",
        "payment_method": "Credit card",
        "payment_kind": "credit",
        "email_hash": "d12345gf345",
        "cc_hash": "q1234rfgth",
        "store_id": "Store123",
        "region_id": -1,
        "segment_ids": ["44", "55"],
        "segment_names": ["seg1"],
        "currency": "USD",
        "coupon_code": "RR01",
        "coupon_value": Decimal("23.76"),
        "line_items": [OrderLine("4556", "sku1", 10, Decimal("256.678"))],
    }
    return Order(**(_absent(Order) | values | changes))


def a_return(**changes: Any) -> Return:
    values: dict[str, Any] = {
        "site": SITE,
        "job": None,
        "accepted_at": NOW_US,
        "order_id": "13",
        "return_id": "15",
        "channel": "offline",
        "user_id": "userC2",
        "date_time": NOW_US - 1,
        "utc_offset_minutes": -90,
        "mode": "online",
        "payment_method": None,
        "payment_kind": None,
        "email_hash": "emailHash",
        "cc_hash": "r4321weetgg",
        "store_id": "Store 234",
        "region_id": None,
        "segment_ids": [],
        "segment_names": [],
        "currency": "EUR",
        "return_value": Decimal("100.25"),
        "line_items": [ReturnLine("content__662", None, 2, Decimal(0), "cash back")],
    }
    return Return(**(_absent(Return) | values | changes))


def a_place(**changes: Any) -> JobRef:
    reference = JobRef(HEADER.job_id, 3, HEADER.total, HEADER.created_at, HEADER.mode, HEADER.type)
    return msgspec.structs.replace(reference, **changes)


class FlatJobEvent(msgspec.Struct, frozen=True):
    """A job event with the schema's own fields, for the codec that is generated from the whole schema."""

    site: int
    job_id: str
    total: int
    created_at: int
    mode: str
    type: str
    at: int
    fact: Fact


FLAT_JOB_EVENTS: Codec[FlatJobEvent] = Codec(
    definition("job_event"),
    {"JobEvent": FlatJobEvent, "Run": OutcomeRun}
    | {kind.__name__: kind for kind in (Opened, Judged, Expired, Failure, Fault)},
)


def by_fastavro(name: str, record: SalesRecord | JobEvent | FlatJobEvent) -> bytes:
    """The record's bytes as the reference library writes them."""
    if isinstance(record, JobEvent):
        header = record.header
        record = FlatJobEvent(
            *header.key, header.total, header.created_at, header.mode, header.type, record.at, record.fact
        )
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED[name], _plain(record), strict=True)
    return out.getvalue()


def _plain(value: Any, name: str = "") -> Any:
    if isinstance(value, msgspec.Struct):
        fields = {_camel(field): _plain(getattr(value, field), field) for field in value.__struct_fields__}
        return (f"tillstream.{type(value).__name__}", fields) if name == "fact" else fields
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return _EPOCH + timedelta(microseconds=value) if name in _TIMES else value


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(part.title() for part in others)
