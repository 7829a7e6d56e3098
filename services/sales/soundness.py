"""One quick look at a record: the usual one keeps every rule, and this sees it several times faster than the rules.

A no here proves nothing; the rules then say what, if anything, is wrong. A yes is final: the tests hold both together.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from functools import lru_cache

from services.sales import fields
from services.sales.records import MODES, Line, Order, Return, SalesRecord
from services.values.decimals import validate_amount
from services.values.identifiers import MAX_ID_LENGTH
from services.values.instants import MAX_OFFSET_MINUTES, MIN_INSTANT_US
from services.values.pii import MAX_CARD_DIGITS

_join = "".join


def passes_fast_check(record: SalesRecord, *, now_us: int, currencies: AbstractSet[str]) -> bool:
    """Whether the record surely keeps every rule."""
    latest = now_us + fields.MAX_FUTURE_US
    if not (
        MIN_INSTANT_US <= record.date_time <= latest
        and MIN_INSTANT_US <= record.accepted_at <= latest
        and -MAX_OFFSET_MINUTES <= record.utc_offset_minutes <= MAX_OFFSET_MINUTES
        and record.mode in MODES
        and record.currency in currencies
        and 0 < len(record.user_id) <= fields.MAX_USER_ID_LENGTH
        and (record.channel is None or len(record.channel) <= fields.MAX_CHANNEL_LENGTH)
        and (record.payment_method is None or len(record.payment_method) <= fields.MAX_PAYMENT_METHOD_LENGTH)
        and (record.store_id is None or 0 < len(record.store_id) <= fields.MAX_STORE_ID_LENGTH)
        and (record.region_id is None or fields.MIN_REGION_ID <= record.region_id <= fields.MAX_REGION_ID)
        and (record.email_hash is None or _hides(record.email_hash))
        and (record.cc_hash is None or _hides(record.cc_hash))
    ):
        return False
    if len(record.segment_ids) > fields.MAX_SEGMENTS or len(record.segment_names) > fields.MAX_SEGMENTS:
        return False
    segments = f"{_join(record.segment_ids)}{_join(record.segment_names)}"
    # Together no longer than one may be: then each is short enough.
    if len(segments) > fields.MAX_SEGMENT_LENGTH:
        return False
    own = _order_texts(record) if isinstance(record, Order) else _return_texts(record)
    # An absent text reads "None" here, which does no harm: this looks for control characters only.
    texts = f"{record.user_id}{record.channel}{record.payment_method}{record.email_hash}{record.cc_hash}"
    return own is not None and f"{texts}{record.store_id}{segments}{own}".isprintable()


def _order_texts(order: Order) -> str | None:
    """All texts that only orders have; None where one of them, or anything about the lines, is suspicious."""
    coupon, value = order.coupon_code, order.coupon_value
    if (
        0 < len(order.id) <= MAX_ID_LENGTH
        and (coupon is None or len(coupon) <= fields.MAX_COUPON_CODE_LENGTH)
        and (value is None or _is_amount(value))
        and (lines := _line_texts(order.line_items)) is not None
    ):
        return f"{order.id}{coupon}{lines}"
    return None


def _return_texts(record: Return) -> str | None:
    value = record.return_value
    credit_types = [line.credit_type for line in record.line_items if line.credit_type is not None]
    if (
        0 < len(record.order_id) <= MAX_ID_LENGTH
        and 0 < len(record.return_id) <= MAX_ID_LENGTH
        and (value is None or _is_amount(value))
        and max(map(len, credit_types), default=0) <= fields.MAX_CREDIT_TYPE_LENGTH
        and (lines := _line_texts(record.line_items)) is not None
    ):
        return f"{record.order_id}{record.return_id}{_join(credit_types)}{lines}"
    return None


def _line_texts(lines: Sequence[Line]) -> str | None:
    if not 1 <= len(lines) <= fields.MAX_LINES:
        return None
    texts = []
    for line in lines:
        product, sku = line.product_id, line.sku_id
        if not (
            0 < len(product) <= MAX_ID_LENGTH
            and (sku is None or 0 < len(sku) <= MAX_ID_LENGTH)
            and 1 <= line.quantity <= fields.MAX_QUANTITY
            and _is_amount(line.unit_price)
        ):
            return None
        texts.append(f"{product}{sku}")
    return _join(texts)


@lru_cache(maxsize=16_384)
def _is_amount(amount: Decimal) -> bool:
    # Prices repeat.
    return validate_amount(amount) is None


def _hides(text: str) -> bool:
    # Too long for a card number, unless separators are taken out of it.
    is_plain = "@" not in text and " " not in text and "-" not in text and "\t" not in text and text.isascii()
    if is_plain and MAX_CARD_DIGITS < len(text) <= fields.MAX_HASH_LENGTH:
        return True
    return fields.validate_hash(text) is None
