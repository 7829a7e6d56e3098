"""One quick look at a record: the usual one keeps every rule, and this sees it several times faster than the rules.

A no here proves nothing; the rules then say what, if anything, is wrong. A yes is final: the tests hold both together.
"""

from collections.abc import Set as AbstractSet
from decimal import Decimal, DecimalException

from services.sales import fields
from services.sales.records import MODES, Order, Record, Return
from services.values.decimals import canonical
from services.values.identifiers import LONGEST_ID
from services.values.instants import EARLIEST_US, FURTHEST_OFFSET_MINUTES
from services.values.personal import LONGEST_CARD, SHORTEST_CARD

_TEXT = "".join


def is_sound(record: Record, *, now_us: int, currencies: AbstractSet[str]) -> bool:
    """Whether the record surely keeps every rule."""
    latest = now_us + fields.AHEAD_US
    if not (
        EARLIEST_US <= record.date_time <= latest
        and EARLIEST_US <= record.accepted_at <= latest
        and -FURTHEST_OFFSET_MINUTES <= record.utc_offset_minutes <= FURTHEST_OFFSET_MINUTES
        and record.mode in MODES
        and record.currency in currencies
        and 0 < len(record.user_id) <= fields.LONGEST_USER_ID
        and (record.channel is None or len(record.channel) <= fields.LONGEST_CHANNEL)
        and (record.payment_method is None or len(record.payment_method) <= fields.LONGEST_PAYMENT_METHOD)
        and (record.store_id is None or 0 < len(record.store_id) <= fields.LONGEST_STORE_ID)
        and (record.region_id is None or fields.SMALLEST_REGION <= record.region_id <= fields.LARGEST_REGION)
        and (record.email_hash is None or _hides(record.email_hash))
        and (record.cc_hash is None or _hides(record.cc_hash))
    ):
        return False
    segments = _TEXT(record.segment_ids) + _TEXT(record.segment_names)
    # Together no longer than one may be: then each is short enough.
    if len(segments) > fields.LONGEST_SEGMENT:
        return False
    # An absent text reads "None" here, which does no harm: this looks for control characters only.
    texts = f"{record.user_id}{record.channel}{record.payment_method}{record.store_id}{segments}"
    if isinstance(record, Order):
        return _order_is_sound(record, texts)
    return _return_is_sound(record, texts)


def _order_is_sound(order: Order, texts: str) -> bool:
    lines = order.line_items
    products = [line.product_id for line in lines]
    skus = [line.sku_id for line in lines if line.sku_id is not None]
    prices = [line.unit_price for line in lines]
    if order.coupon_value is not None:
        prices.append(order.coupon_value)
    return (
        0 < len(order.id) <= LONGEST_ID
        and (order.coupon_code is None or len(order.coupon_code) <= fields.LONGEST_COUPON_CODE)
        and _lines_are_sound(len(lines), products, skus, [line.quantity for line in lines], prices)
        and f"{order.id}{order.coupon_code}{texts}{_TEXT(products)}{_TEXT(skus)}".isprintable()
    )


def _return_is_sound(record: Return, texts: str) -> bool:
    lines = record.line_items
    products = [line.product_id for line in lines]
    skus = [line.sku_id for line in lines if line.sku_id is not None]
    prices = [line.unit_price for line in lines]
    if record.return_value is not None:
        prices.append(record.return_value)
    credit_types = [line.credit_type for line in lines if line.credit_type is not None]
    return (
        0 < len(record.order_id) <= LONGEST_ID
        and 0 < len(record.return_id) <= LONGEST_ID
        and max(map(len, credit_types), default=0) <= fields.LONGEST_CREDIT_TYPE
        and _lines_are_sound(len(lines), products, skus, [line.quantity for line in lines], prices)
        and f"{record.order_id}{record.return_id}{texts}{_TEXT(products)}{_TEXT(skus + credit_types)}".isprintable()
    )


def _lines_are_sound(
    count: int, products: list[str], skus: list[str], quantities: list[int], prices: list[Decimal]
) -> bool:
    return (
        1 <= count <= fields.MOST_LINES
        and all(products)
        and all(skus)
        and max(map(len, products)) <= LONGEST_ID
        and max(map(len, skus), default=0) <= LONGEST_ID
        and min(quantities) >= 1
        and max(quantities) <= fields.LARGEST_QUANTITY
        and _are_amounts(prices)
    )


def _are_amounts(amounts: list[Decimal]) -> bool:
    try:
        return min(map(canonical, amounts)) >= 0
    except DecimalException:
        return False


def _hides(text: str) -> bool:
    if text.isalnum() and text.isascii():
        return len(text) < SHORTEST_CARD or LONGEST_CARD < len(text) <= fields.LONGEST_HASH
    return fields.hash_wrong(text) is None
