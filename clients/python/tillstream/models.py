"""What the APIs return. Amounts are `Decimal`, days are `date`; times are `datetime` where they have an offset.

Fields that later versions of the APIs add are ignored.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct, field

Kind = Literal["orders", "returns"]
Mode = Literal["offline", "online"]
Outcome = Literal["succeeded", "failed", "unprocessed"]


class _Model(Struct, frozen=True, rename="camel"):
    """Base of all models: immutable, with the API's names in camel case."""


class Note(_Model, frozen=True):
    """What was normalised or ignored; without `index` it is about the whole body."""

    code: str
    detail: str
    index: int | None = None


class Fault(_Model, frozen=True):
    """Why a record was not accepted. `field` is a JSON pointer; a `retryable` record can be accepted later."""

    code: str
    field: str
    message: str
    retryable: bool = False

    @property
    def product_id(self) -> str | None:
        """The product that is not in the catalogue, if that is the fault."""
        return self.message.rpartition(" ")[2] if self.code == "PRODUCT_NOT_FOUND" else None


class Accepted(_Model, frozen=True):
    """An accepted import: its job, and what is known so far; the catalogue is checked afterwards."""

    message: str
    time: int
    job_id: str
    notes: list[Note] = field(default_factory=list)


class Validated(_Model, frozen=True):
    """What an import would come to; `catalogue_as_of` is the state of the catalogue that was used."""

    message: str
    time: int
    catalogue_as_of: datetime | None
    records: list["RecordResult"]
    notes: list[Note] = field(default_factory=list)


class RecordResult(_Model, frozen=True):
    """The outcome of one record. An order has an `id`, a return `order_id` and `return_id`."""

    index: int
    user_id: str | None
    outcome: Outcome
    faults: list[Fault]
    id: str | None = None
    order_id: str | None = None
    return_id: str | None = None
    notes: list[Note] = field(default_factory=list)
    record: Any = None
    late_outcome: str | None = None


class Limits(_Model, frozen=True):
    """The limits of the site, and what is left of them."""

    records_per_second: int
    remaining: int
    reset_after_seconds: int
    records_per_request: int
    bytes_per_request: int
    inflated_bytes_per_request: int


class RecordCounts(_Model, frozen=True):
    """How many records of a job came to what."""

    total: int
    success: int
    failed: int
    unprocessed: int = 0


class Baggage(_Model, frozen=True):
    """What a job carries."""

    records: RecordCounts


class JobAttributes(_Model, frozen=True):
    """Mode and type of a job or of an event; an event names its record, too."""

    mode: str
    type: str
    order_id: str | None = None
    return_id: str | None = None
    index: int | None = None
    code: str | None = None
    field: str | None = None
    product_id: str | None = None


class Job(_Model, frozen=True):
    """An import job. `terminal` is whether it has ended."""

    job_id: str
    name: str
    state: str
    status: str
    terminal: bool
    job_created: str
    last_modified: str
    completed_at: str | None
    duration: str
    baggage: Baggage
    attributes: JobAttributes

    @property
    def counts(self) -> RecordCounts:
        """The counts of the job's records."""
        return self.baggage.records


class Event(_Model, frozen=True):
    """One event of a job: a fault (WARNING, ERROR), a good record (DETAIL) or the end (SUMMARY)."""

    status_id: str
    task_id: str
    message: str
    level: str
    timestamp: str
    attributes: JobAttributes


class Counts(_Model, frozen=True):
    """How many ordered units came to what."""

    ordered: int
    delivered: int
    pending: int
    cancelled: int


class PurchaseOrderRef(_Model, frozen=True):
    """The purchase order of the day that a transaction belongs to."""

    id: str
    business_date: date
    currency: str


class OrderedLine(_Model, frozen=True):
    """One product of a transaction, at the price of the day."""

    sku: str
    name: str
    quantity: int
    unit_price: Decimal
    amount: Decimal
    ordered: int | None = None
    delivered: int | None = None
    pending: int | None = None
    cancelled: int | None = None


class PlacedOrder(_Model, frozen=True):
    """An accepted order of codes; `duplicate` if the same order had been placed before."""

    transaction_id: str
    client_order_number: str | None
    purchase_order: PurchaseOrderRef
    status: str
    lines: list[OrderedLine]
    created_at: datetime
    duplicate: bool = False


class Transaction(_Model, frozen=True):
    """An order of codes with its progress."""

    transaction_id: str
    client_order_number: str | None
    purchase_order: PurchaseOrderRef
    status: str
    lines: list[OrderedLine]
    counts: Counts
    total: Decimal
    created_at: datetime
    deadline: datetime


class Unit(_Model, frozen=True):
    """One ordered unit; a delivered one has a code. The code is not in its `repr`."""

    stock_id: str
    status: str
    redeem_code: str | None = None
    pin_code: str | None = None
    reason: str | None = None

    def __repr__(self) -> str:
        return f"Unit(stock_id={self.stock_id!r}, status={self.status!r})"


class SkuCodes(_Model, frozen=True):
    """The units of one product."""

    sku: str
    codes: list[Unit]


class Codes(_Model, frozen=True):
    """The units of a transaction as far as they are delivered; `next_poll_after` while more are to come."""

    transaction_id: str
    status: str
    counts: Counts
    codes: list[SkuCodes]
    next_poll_after: datetime | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no unit is pending any more."""
        return self.status != "PROCESSING"


class MergedLine(_Model, frozen=True):
    """A product on a purchase order or an invoice, all transactions together."""

    sku: str
    name: str
    unit_price: Decimal
    ordered: int
    delivered: int
    pending: int
    cancelled: int
    amount: Decimal
    quantity: int | None = None


class Totals(_Model, frozen=True):
    """The sums of a purchase order."""

    transactions: int
    ordered: int
    delivered: int
    pending: int
    cancelled: int
    amount: Decimal


class PurchaseOrder(_Model, frozen=True):
    """All orders of a day in one currency; `transactions` are those of the requested page."""

    id: str
    business_date: date
    currency: str
    state: str
    lines: list[MergedLine]
    totals: Totals
    transactions: list[Transaction] = field(default_factory=list)
    invoice_id: str | None = None


class Party(_Model, frozen=True):
    """Issuer or customer of an invoice."""

    name: str
    address: str | None = None
    tax_id: str | None = None
    site: int | None = None
    bank: str | None = None
    terms: str | None = None


class Invoice(_Model, frozen=True):
    """An invoice or a credit note."""

    id: str
    kind: str
    number: str
    purchase_order_id: str
    business_date: date
    currency: str
    issuer: Party
    customer: Party
    transactions: int
    lines: list[MergedLine]
    total: Decimal
    issued_at: datetime
    credit_for: str | None = None


class Product(_Model, frozen=True):
    """A product that codes are sold of."""

    sku: str
    name: str
    unit_price: Decimal
    currency: str
    supplier: str
    withdrawn: bool = False


class LoadedCodes(_Model, frozen=True):
    """What loading codes came to: `known` ones had been loaded before."""

    sku: str
    received: int
    added: int
    known: int
    batch_id: str


class Sale(_Model, frozen=True):
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


class Entry(_Model, frozen=True):
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


class ReportRow(_Model, frozen=True):
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


class Report(_Model, frozen=True):
    """Sums of sales as of an instant; days are those of `zone`."""

    as_of: datetime
    zone: str
    report_currency: str
    result: list[ReportRow]


class Erasure(_Model, frozen=True):
    """The erasure of a user."""

    receipt_id: str
    state: str
    requested_at: datetime
    erased_at: datetime | None
    complete_by: str


class FeedEvent(_Model, frozen=True):
    """An event of the site's feed; `sequence` numbers them without holes."""

    id: str
    type: str
    source: str
    time: datetime
    sequence: int
    data: dict[str, Any]


class FeedPagination(_Model, frozen=True):
    """Where a page of the feed ends: the cursor is never None."""

    rows: int
    count: int
    next_page_token: str


class FeedPage(_Model, frozen=True):
    """A page of the feed."""

    pagination: FeedPagination
    result: list[FeedEvent]


class Endpoint(_Model, frozen=True):
    """Where events are sent to. The secret is shown once, and is not in the `repr`."""

    id: str
    url: str
    types: list[str]
    description: str
    ordered: bool
    enabled: bool
    created_at: datetime
    failing_since: datetime | None = None
    disabled_reason: str | None = None
    missed_since: datetime | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, url={self.url!r}, enabled={self.enabled})"


class Delivery(_Model, frozen=True):
    """An event that was, or is to be, sent to an endpoint, with each attempt."""

    event_id: str
    sequence: int
    type: str
    state: str
    attempts: list[dict[str, Any]]
    next_try_at: datetime | None


class Problem(Struct, frozen=True, rename="camel"):
    """RFC 9457, as the APIs return it."""

    detail: str = ""
    code: str = ""
    request_id: str | None = None
    errors: list[dict[str, str]] = field(default_factory=list)


class Token(Struct, frozen=True):
    """The response of a token endpoint."""

    access_token: str
    expires_in: int


class Pagination(_Model, frozen=True):
    """Where a page ends; the token of the next one is None at the end."""

    rows: int
    count: int
    next_page_token: str | None
