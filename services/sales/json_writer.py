"""A canonical record as JSON text, with the names of the documents."""

from contextlib import suppress
from decimal import Decimal, DecimalException
from typing import Any

from msgspec import json

from services.sales import fields
from services.sales.records import Line, Order, ReturnLine, SalesRecord, get_lines
from services.values.decimals import plain
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US, format_local, format_utc
from services.values.pii import REMOVED

_encode = json.Encoder(decimal_format="number").encode


def to_json(record: SalesRecord) -> str:
    """The record without what is absent: exact amounts, times as they were stated, refused hashes replaced.

    Takes records that no rule has looked at yet.
    """
    values: dict[str, Any] = {}
    if isinstance(record, Order):
        values["id"] = record.id
    else:
        values |= {"orderId": record.order_id, "returnId": record.return_id}
    values |= {
        "channel": record.channel,
        "userId": record.user_id,
        "dateTime": _stated(record.date_time, record.utc_offset_minutes),
        "acceptedAt": _utc(record.accepted_at),
        "mode": record.mode,
        "paymentMethod": record.payment_method,
        "paymentKind": record.payment_kind,
        "emailHash": _hash(record.email_hash),
        "ccHash": _hash(record.cc_hash),
        "storeId": record.store_id,
        "regionId": record.region_id,
        "segmentIds": record.segment_ids or None,
        "segmentNames": record.segment_names or None,
        "currency": record.currency,
    }
    if isinstance(record, Order):
        values |= {"couponCode": record.coupon_code, "couponValue": _amount(record.coupon_value)}
    else:
        values["returnValue"] = _amount(record.return_value)
    values["lineItems"] = [_line(line) for line in get_lines(record)]
    return _encode(_present(values)).decode()


def _line(line: Line) -> dict[str, Any]:
    values = {
        "productId": line.product_id,
        "skuId": line.sku_id,
        "quantity": line.quantity,
        "unitPrice": _amount(line.unit_price),
    }
    if isinstance(line, ReturnLine):
        values["creditType"] = line.credit_type
    return _present(values)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _amount(amount: Decimal | None) -> Decimal | None:
    if amount is None:
        return None
    with suppress(DecimalException):
        return plain(amount).copy_sign(amount)
    return amount


def _hash(value: str | None) -> str | None:
    return REMOVED if value is not None and fields.validate_hash(value) else value


def _stated(us: int, offset_minutes: int) -> str | int:
    # Any 64-bit integer can come from Kafka; what no calendar can show stays one.
    return format_local(us, offset_minutes=offset_minutes) if MIN_INSTANT_US <= us <= MAX_INSTANT_US else us


def _utc(us: int) -> str | int:
    return format_utc(us, digits=6) if MIN_INSTANT_US <= us <= MAX_INSTANT_US else us
