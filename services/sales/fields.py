"""The table of fields: what a valid order, and a valid return, is. Every reader, check and writer follows it.

Rows are in the order in which faults are reported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from services.avro.schema import to_snake_case
from services.sales.field_types import (
    AcceptedAt,
    Amount,
    Currency,
    FieldType,
    Hash,
    Identifier,
    Integer64,
    Job,
    LocalDateTime,
    Mode,
    PaymentKind,
    Quantity,
    RuleContext,
    Segments,
    SiteId,
    Text,
    UtcOffset,
)
from services.sales.records import OFFLINE, Order, OrderLine, Return, ReturnLine, SalesRecord
from services.values.currencies import DEFAULT_CURRENCY
from services.values.invalid import Invalid, InvalidKind

LINE_ITEMS = "lineItems"
MAX_LINES = 500
PRODUCT_ID = Identifier()
PAYMENT_METHOD = Text(max_length=64)


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field. `name` is the name of the JSON member and of the Avro field.

    `default` is the canonical value of an absent field; one that `is_from_request` takes the value of the request (its
    path, query or site) first. A client may send what `is_sent`, ingest sets the rest; rejected records show what
    `is_shown`. A value that `is_personal` is kept nowhere if it is invalid. Texts of at most `common_length` are
    recognised in Avro bytes without being decoded.
    """

    name: str
    type: FieldType
    is_required: bool = False
    default: Any = None
    alias: str | None = None
    is_from_request: bool = False
    is_personal: bool = False
    is_sent: bool = True
    is_shown: bool = True
    common_length: int = 63

    @cached_property
    def attribute(self) -> str:
        """The name of the attribute of the record."""
        return to_snake_case(self.name)


@dataclass(frozen=True)
class FieldTable:
    """The fields of one type of record or line."""

    record_type: type[Any]
    fields: tuple[Field, ...]

    @cached_property
    def sent(self) -> Mapping[str, Field]:
        """The fields that a client may send, by each of their names in JSON."""
        sent = [field for field in self.fields if field.is_sent]
        return {name: field for field in sent for name in (field.name, field.alias) if name is not None}

    @cached_property
    def defaults(self) -> Mapping[str, Any]:
        """The canonical values of absent fields that are not None, by attribute."""
        return {field.attribute: field.default for field in self.fields if field.default is not None}

    @cached_property
    def lines(self) -> "FieldTable | None":
        """The table of the record's lines; None for a line."""
        return next((field.type.table for field in self.fields if isinstance(field.type, Lines)), None)


@dataclass(frozen=True)
class Lines(FieldType):
    """The lines of a record: at least one."""

    table: FieldTable
    max_items: int = MAX_LINES

    def read(self, value: object, context: RuleContext, /) -> list[Any] | Invalid:
        """Return the JSON values of the lines, unread."""
        if not isinstance(value, list):
            return Invalid(InvalidKind.TYPE, "must be an array").but_found(value)
        return self.validate(value, context) or value

    def validate(self, lines: list[Any], _: RuleContext, /) -> Invalid | None:
        """Check the number of lines."""
        is_valid = 1 <= len(lines) <= self.max_items
        return (
            None if is_valid else Invalid(InvalidKind.VALUE, f"must hold 1 to {self.max_items} lines, not {len(lines)}")
        )

    def fast_check(self, name: str) -> str | None:
        """Check the number of lines."""
        return f"1 <= len({name}) <= {self.max_items}"


_SET_BY_INGEST = (
    Field(name="site", type=SiteId(), is_required=True, is_sent=False, is_shown=False),
    Field(name="job", type=Job(), is_sent=False, is_shown=False),
)
_SALE = (
    Field(name="channel", type=Text(max_length=128), is_from_request=True),
    Field(name="userId", type=Identifier(max_length=256), is_required=True, is_from_request=True, common_length=127),
    Field(name="dateTime", type=LocalDateTime(), is_required=True),
    Field(name="utcOffsetMinutes", type=UtcOffset(), is_required=True, is_sent=False, is_shown=False),
    Field(name="acceptedAt", type=AcceptedAt(), is_required=True, is_sent=False),
    Field(name="mode", type=Mode(), default=OFFLINE, is_from_request=True),
    Field(name="paymentMethod", type=PAYMENT_METHOD),
    Field(name="paymentKind", type=PaymentKind(), is_sent=False),
    Field(name="emailHash", type=Hash(max_length=256), is_personal=True, common_length=127),
    Field(name="ccHash", type=Hash(max_length=256), is_personal=True, common_length=127),
    Field(name="regionId", type=Integer64()),
    Field(name="storeId", type=Identifier(max_length=256)),
    Field(name="segmentIds", type=Segments(max_items=1000, max_length=256), default=[], alias="segmentId"),
    Field(name="segmentNames", type=Segments(max_items=1000, max_length=256), default=[]),
    Field(name="currency", type=Currency(), default=DEFAULT_CURRENCY),
)
_LINE = (
    Field(name="productId", type=PRODUCT_ID, is_required=True),
    Field(name="skuId", type=Identifier()),
    Field(name="quantity", type=Quantity(), is_required=True),
    Field(name="unitPrice", type=Amount(), is_required=True),
)
ORDER_LINE = FieldTable(OrderLine, _LINE)
RETURN_LINE = FieldTable(ReturnLine, (*_LINE, Field(name="creditType", type=Text(max_length=64))))

ORDER = FieldTable(
    Order,
    (
        *_SET_BY_INGEST,
        Field(name="id", type=Identifier(), is_required=True),
        *_SALE,
        Field(name="couponCode", type=Text(max_length=128)),
        Field(name="couponValue", type=Amount()),
        Field(name=LINE_ITEMS, type=Lines(ORDER_LINE), is_required=True),
    ),
)
RETURN = FieldTable(
    Return,
    (
        *_SET_BY_INGEST,
        Field(name="orderId", type=Identifier(), is_required=True),
        Field(name="returnId", type=Identifier(), is_required=True),
        *_SALE,
        Field(name="returnValue", type=Amount()),
        Field(name=LINE_ITEMS, type=Lines(RETURN_LINE), is_required=True),
    ),
)
TABLES = (ORDER, RETURN, ORDER_LINE, RETURN_LINE)


def get_table(record: SalesRecord) -> FieldTable:
    """Return the table of an order or of a return."""
    return ORDER if isinstance(record, Order) else RETURN
