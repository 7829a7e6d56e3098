"""Orders and returns for tests."""

from collections.abc import Sequence
from decimal import Decimal

from services.jobs.events import JobRef
from services.sales.records import Order, OrderLine, Return, ReturnLine
from services.values.decimals import quantize
from tests.sales import samples

SITE = 608
NOON = 1_700_000_000_000_000  # 2023-11-14T22:13:20Z
DAY_US = 86_400_000_000
KEY = b"k" * 32

Line = tuple[str, int, str]


def a_job(number: int = 1, index: int = 0, *, type_: str = "orders") -> JobRef:
    return JobRef(f"0000000{number}-0000-1000-8000-000000000000", index, index + 1, NOON, "offline", type_)


def an_order(
    id_: str = "13",
    *,
    at: int = 1,
    job: JobRef | None = None,
    site: int = SITE,
    channel: str | None = "web",
    user: str = "u1",
    when: int = NOON,
    mode: str = "online",
    store: str | None = None,
    currency: str = "USD",
    coupon: str | None = None,
    lines: Sequence[Line] = (("p1", 2, "9.99"),),
    email_hash: str | None = "hash-of-mail",
    segments: Sequence[str] = ("segment-1",),
) -> Order:
    return samples.an_order(
        site=site,
        job=job,
        accepted_at=NOON + at,
        id=id_,
        channel=channel,
        user_id=user,
        date_time=when,
        utc_offset_minutes=60,
        mode=mode,
        payment_method="visa",
        payment_kind="credit",
        email_hash=email_hash,
        cc_hash=None,
        store_id=store,
        segment_ids=list(segments),
        segment_names=[],
        currency=currency,
        coupon_code=None,
        coupon_value=None if coupon is None else quantize(Decimal(coupon)),
        line_items=[OrderLine(product, None, quantity, quantize(Decimal(price))) for product, quantity, price in lines],
    )


def a_return(
    return_id: str = "15",
    *,
    order_id: str = "13",
    at: int = 1,
    job: JobRef | None = None,
    site: int = SITE,
    channel: str | None = "web",
    user: str = "u1",
    when: int = NOON + DAY_US,
    mode: str = "offline",
    store: str | None = "Store 234",
    currency: str = "USD",
    value: str | None = None,
    lines: Sequence[Line] = (("p1", 1, "9.99"),),
) -> Return:
    return Return(
        site=site,
        job=job,
        accepted_at=NOON + at,
        order_id=order_id,
        return_id=return_id,
        channel=channel,
        user_id=user,
        date_time=when,
        utc_offset_minutes=60,
        mode=mode,
        payment_method=None,
        payment_kind=None,
        email_hash=None,
        cc_hash="hash-of-card",
        store_id=store,
        region_id=None,
        segment_ids=[],
        segment_names=[],
        currency=currency,
        return_value=None if value is None else quantize(Decimal(value)),
        line_items=[
            ReturnLine(product, None, quantity, quantize(Decimal(price)), "cash back")
            for product, quantity, price in lines
        ],
    )
