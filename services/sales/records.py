"""Orders and returns in their canonical form, as Kafka carries them; attributes are in the order of the Avro schemas.

Money is Decimal, times are microseconds since 1970 UTC, enumerations are their symbols.
"""

from decimal import Decimal

from msgspec import Struct

from services.jobs.events import JobHeader, JobRef

ORDERS = "orders"
RETURNS = "returns"
OFFLINE = "offline"
ONLINE = "online"
MODES = (OFFLINE, ONLINE)


class OrderLine(Struct, frozen=True, gc=False):
    """One product on an order."""

    product_id: str
    sku_id: str | None
    quantity: int
    unit_price: Decimal


class ReturnLine(OrderLine, frozen=True, gc=False):
    """One product on a return."""

    credit_type: str | None


class Order(Struct, frozen=True, gc=False):
    """One imported order. An upsert by (site, channel, id)."""

    site: int
    job: JobRef | None
    accepted_at: int
    id: str
    channel: str | None
    user_id: str
    date_time: int
    utc_offset_minutes: int
    mode: str
    payment_method: str | None
    payment_kind: str | None
    email_hash: str | None
    cc_hash: str | None
    store_id: str | None
    region_id: int | None
    segment_ids: list[str]
    segment_names: list[str]
    currency: str
    coupon_code: str | None
    coupon_value: Decimal | None
    line_items: list[OrderLine]

    @property
    def order_id(self) -> str:
        """The order's own id."""
        return self.id

    @property
    def return_id(self) -> None:
        """None: this is no return."""


class Return(Struct, frozen=True, gc=False):
    """One imported return. An upsert by (site, channel, order_id, return_id)."""

    site: int
    job: JobRef | None
    accepted_at: int
    order_id: str
    return_id: str
    channel: str | None
    user_id: str
    date_time: int
    utc_offset_minutes: int
    mode: str
    payment_method: str | None
    payment_kind: str | None
    email_hash: str | None
    cc_hash: str | None
    store_id: str | None
    region_id: int | None
    segment_ids: list[str]
    segment_names: list[str]
    currency: str
    return_value: Decimal | None
    line_items: list[ReturnLine]


class RecordSummary(Struct, frozen=True, gc=False):
    """What the validator needs of an order or a return that keeps every rule.

    `job` and `index` are the parts of its `JobRef`; `order_id` is an order's own id.
    """

    site: int
    job: JobHeader | None
    index: int
    channel: str | None
    order_id: str
    return_id: str | None
    user_id: str
    mode: str


SalesRecord = Order | Return
