"""Orders by user and sums of sales."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from msgspec import field

from tillstream.models.base import Model


class Sale(Model, frozen=True):
    """An imported order or return in canonical form. An order has an `id`, a return `order_id` and `return_id`."""

    user_id: str
    date_time: datetime
    accepted_at: datetime
    mode: str
    currency: str
    line_items: list[dict[str, Any]]
    id: str | None = None
    order_id: str | None = None
    return_id: str | None = None
    channel: str | None = None
    payment_method: str | None = None
    store_id: str | None = None
    region_id: int | None = None
    segment_ids: list[str] = field(default_factory=list)
    segment_names: list[str] = field(default_factory=list)
    coupon_code: str | None = None
    coupon_value: Decimal | None = None
    return_value: Decimal | None = None
    value: Decimal | None = None
    job_id: str | None = None
    index: int | None = None


class Entry(Model, frozen=True):
    """An order in its latest version, with its returns; or returns without an order."""

    order_id: str
    channel: str | None
    user_id: str
    state: str
    currency: str
    gross: Decimal
    returned: Decimal
    net: Decimal
    order: Sale | None
    returns: list[Sale]
    versions: list[dict[str, Any]]
    flags: list[str]


class ReportRow(Model, frozen=True):
    """Sums of sales; those dimensions are set that the report was asked for."""

    currency: str
    orders: int
    units: int
    gross: Decimal
    coupons: Decimal
    returned_units: int
    returned: Decimal
    net: Decimal
    day: date | None = None
    month: str | None = None
    channel: str | None = None
    mode: str | None = None
    store: str | None = None


class Report(Model, frozen=True):
    """Sums of sales as of an instant; days are those of `zone`."""

    as_of: datetime
    zone: str
    report_currency: str
    result: list[ReportRow]


class Erasure(Model, frozen=True):
    """The erasure of a user."""

    receipt_id: str
    state: str
    requested_at: datetime
    erased_at: datetime | None
    complete_by: str
