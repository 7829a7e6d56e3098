"""The rules that a record must keep, however it came: applied to what REST clients and Kafka producers send alike.

Nothing is normalised here: a currency in lower case is an unknown currency.
"""

from collections.abc import Callable, Container, Iterator
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import NamedTuple

from services.jobs.events import Fault
from services.sales import fields
from services.sales.faults import FaultCode, first_faults, invalid_value, make_fault, product_not_found
from services.sales.records import MODES, Line, Order, ReturnLine, SalesRecord, get_lines
from services.sales.soundness import passes_fast_check
from services.values.currencies import validate_currency
from services.values.decimals import validate_amount
from services.values.identifiers import validate_text
from services.values.instants import MAX_INSTANT_US, MAX_OFFSET_MINUTES, MIN_INSTANT_US
from services.values.invalid import Invalid


class RuleContext(NamedTuple):
    """What the rules compare a record with."""

    now_us: int
    currencies: AbstractSet[str]


Rule = Callable[[SalesRecord, RuleContext], Iterator[Fault]]


def check_record(record: SalesRecord, *, now_us: int, currencies: AbstractSet[str]) -> list[Fault]:
    """All faults of a record, in the order of the rules, the first 20; empty where it keeps every rule."""
    if passes_fast_check(record, now_us=now_us, currencies=currencies):
        return []
    given = RuleContext(now_us, currencies)
    return first_faults(found for rule in RULES for found in rule(record, given))


def find_unknown_products(record: SalesRecord, known: Container[str]) -> list[Fault]:
    """One fault for each distinct product of the record that is not `known`; the first 20."""
    lines = get_lines(record)
    missing = [(line.product_id, position) for position, line in enumerate(lines) if line.product_id not in known]
    if not missing:
        return []
    first: dict[str, int] = {}
    for product_id, position in missing:
        first.setdefault(product_id, position)
    # An id that is no id has its own fault already, and must not be quoted.
    return first_faults(
        product_not_found(f"/lineItems/{position}/productId", product_id)
        for product_id, position in first.items()
        if fields.validate_id(product_id) is None
    )


def future_fault(field: str, us: int, *, now_us: int) -> Fault | None:
    """The fault of an instant too far ahead, or None."""
    if us <= now_us + fields.MAX_FUTURE_US:
        return None
    return make_fault(FaultCode.FUTURE_DATE, field, f"{field[1:]} must not be more than 5 minutes ahead")


def identity_is_given(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """Ids of the record: see `fields.id_wrong`."""
    if isinstance(record, Order):
        yield from _ill("/id", fields.validate_id(record.id))
    else:
        yield from _ill("/orderId", fields.validate_id(record.order_id))
        yield from _ill("/returnId", fields.validate_id(record.return_id))


def channel_is_bounded(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """A channel is a free text."""
    yield from _text("/channel", record.channel, longest=fields.MAX_CHANNEL_LENGTH)


def user_is_given(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """Every sale has a shopper."""
    yield from _ill("/userId", fields.validate_id(record.user_id, max_length=fields.MAX_USER_ID_LENGTH))


def date_is_past(record: SalesRecord, given: RuleContext) -> Iterator[Fault]:
    """A sale has happened; its instant is one that every calendar can show, its offset one that clocks can have."""
    if record.date_time < MIN_INSTANT_US:
        yield make_fault(FaultCode.INVALID_DATE, "/dateTime", "dateTime is before the year 1")
    elif late := future_fault("/dateTime", record.date_time, now_us=given.now_us):
        yield late
    if abs(record.utc_offset_minutes) > MAX_OFFSET_MINUTES:
        yield make_fault(FaultCode.INVALID_DATE, "/utcOffsetMinutes", "utcOffsetMinutes must be less than a day")


def acceptance_is_past(record: SalesRecord, given: RuleContext) -> Iterator[Fault]:
    """Readers keep the record with the greatest acceptedAt, so one far ahead would never be replaced."""
    if not MIN_INSTANT_US <= record.accepted_at <= MAX_INSTANT_US:
        yield make_fault(FaultCode.INVALID_DATE, "/acceptedAt", "acceptedAt must be in the years 1 to 9999")
    elif late := future_fault("/acceptedAt", record.accepted_at, now_us=given.now_us):
        yield late


def mode_is_known(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """A sale was made offline or online."""
    if record.mode not in MODES:
        yield make_fault(FaultCode.INVALID_VALUE, "/mode", "mode must be offline or online")


def payment_method_is_bounded(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """A payment method is a free text."""
    yield from _text("/paymentMethod", record.payment_method, longest=fields.MAX_PAYMENT_METHOD_LENGTH)


def hashes_hide(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """No personal data where a hash belongs."""
    for field, value in (("/emailHash", record.email_hash), ("/ccHash", record.cc_hash)):
        if value is not None:
            yield from _ill(field, fields.validate_hash(value))


def region_fits(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """A region is a signed 64-bit integer."""
    region = record.region_id
    if region is not None and not fields.MIN_REGION_ID <= region <= fields.MAX_REGION_ID:
        yield make_fault(FaultCode.INVALID_VALUE, "/regionId", "regionId must be a signed 64-bit integer")


def store_is_an_id(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """A store, where given, is an id."""
    if record.store_id is not None:
        yield from _ill("/storeId", fields.validate_id(record.store_id, max_length=fields.MAX_STORE_ID_LENGTH))


def segments_are_texts(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """Segments are bounded texts."""
    yield from _ill("/segmentIds", fields.validate_segments(record.segment_ids))
    yield from _ill("/segmentNames", fields.validate_segments(record.segment_names))


def currency_is_known(record: SalesRecord, given: RuleContext) -> Iterator[Fault]:
    """A currency is an ISO 4217 code in upper case."""
    yield from _ill("/currency", validate_currency(record.currency, given.currencies))


def values_are_amounts(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """The coupon of an order, the value of a return."""
    if isinstance(record, Order):
        yield from _text("/couponCode", record.coupon_code, longest=fields.MAX_COUPON_CODE_LENGTH)
        yield from _amount("/couponValue", record.coupon_value)
    else:
        yield from _amount("/returnValue", record.return_value)


def lines_are_sound(record: SalesRecord, _: RuleContext) -> Iterator[Fault]:
    """Every line names a product, a quantity and a price."""
    if wrong := fields.validate_line_count(record.line_items):
        yield invalid_value("/lineItems", wrong)
        return
    for position, line in enumerate(get_lines(record)):
        yield from _line(f"/lineItems/{position}", line)


RULES: tuple[Rule, ...] = (
    identity_is_given,
    channel_is_bounded,
    user_is_given,
    date_is_past,
    acceptance_is_past,
    mode_is_known,
    payment_method_is_bounded,
    hashes_hide,
    region_fits,
    store_is_an_id,
    segments_are_texts,
    currency_is_known,
    values_are_amounts,
    lines_are_sound,
)


def _line(at: str, line: Line) -> Iterator[Fault]:
    yield from _ill(f"{at}/productId", fields.validate_id(line.product_id))
    if line.sku_id is not None:
        yield from _ill(f"{at}/skuId", fields.validate_id(line.sku_id))
    yield from _ill(f"{at}/quantity", fields.validate_quantity(line.quantity))
    yield from _amount(f"{at}/unitPrice", line.unit_price)
    if isinstance(line, ReturnLine):
        yield from _text(f"{at}/creditType", line.credit_type, longest=fields.MAX_CREDIT_TYPE_LENGTH)


def _ill(field: str, wrong: Invalid | None) -> Iterator[Fault]:
    if wrong is not None:
        yield invalid_value(field, wrong)


def _text(field: str, text: str | None, *, longest: int) -> Iterator[Fault]:
    if text is not None:
        yield from _ill(field, validate_text(text, max_length=longest))


def _amount(field: str, amount: Decimal | None) -> Iterator[Fault]:
    if amount is not None:
        yield from _ill(field, validate_amount(amount))
