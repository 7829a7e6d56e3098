"""The byte pattern yields what decoding yields, and matches only records that keep every rule."""

from collections.abc import Container, Iterator
from decimal import Decimal
from operator import attrgetter
from time import process_time
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.avro.codec import AvroDecodeError
from services.avro.varints import encode_varint
from services.jobs.events import JobHeader, JobKey
from services.sales.fast_avro_check import AvroPattern
from services.sales.field_types import RuleContext
from services.sales.fields import MAX_LINES
from services.sales.records import (
    Order,
    OrderLine,
    RecordSummary,
    ReturnLine,
    SalesRecord,
)
from services.sales.rules import find_faults
from services.values.identifiers import MAX_ID_LENGTH
from services.values.time_uuids import is_uuid
from tests.sales.samples import CURRENCIES, HEADER, NOW_US, ORDERS, RETURNS, a_place, a_return, an_order, definition
from tests.sales.strategies import ORDERS as ANY_ORDERS
from tests.sales.strategies import RETURNS as ANY_RETURNS

PATTERNS = {"order": AvroPattern(definition("order")), "return": AvroPattern(definition("return"))}
CODECS: dict[str, Any] = {"order": ORDERS, "return": RETURNS}
FRAME = b"frame"
HASH = "d12345gf345d12345gf345d12345gf345"
LATEST_US = NOW_US + 5 * 60 * 1_000_000


def a_line(**changes: Any) -> list[OrderLine]:
    return [msgspec.structs.replace(OrderLine("4556", "sku", 2, Decimal("256.678")), **changes)]


def a_return_line(**changes: Any) -> list[ReturnLine]:
    return [msgspec.structs.replace(ReturnLine("4556", "sku", 2, Decimal("256.678"), "card"), **changes)]


def name_of(record: SalesRecord) -> str:
    return "order" if isinstance(record, Order) else "return"


def encoded(record: SalesRecord) -> bytes:
    data: bytes = CODECS[name_of(record)].encode(record)
    return data


class AskedProducts:
    """Products of any site, which are all known but the `unknown` ones; `asked` are those that were looked up."""

    def __init__(self, *unknown: str) -> None:
        self.asked: list[str] = []
        self._unknown = unknown

    def __contains__(self, product: object) -> bool:
        self.asked.append(str(product))
        return product not in self._unknown


def match(name: str, data: bytes, products: Container[str] | None = None) -> RecordSummary | None:
    known = AskedProducts() if products is None else products
    return PATTERNS[name].match(
        FRAME + data, len(FRAME), now_us=NOW_US, currencies=CURRENCIES, products_of=lambda _site: known
    )


def summary_of(record: SalesRecord) -> RecordSummary:
    ids = record.order_id, record.return_id
    job, header = record.job, None
    if job is not None:
        header = JobHeader(JobKey(record.site, job.job_id), job.total, job.created_at, job.mode, job.type)
    index = job.index if job else 0
    return RecordSummary(record.site, header, index, record.channel, *ids, record.user_id, record.mode)


def matches_truly(name: str, data: bytes) -> bool:
    """Return whether the pattern matches; if so, check the summary against the decoded record."""
    products = AskedProducts()
    summary = match(name, data, products)
    if summary is None:
        return False
    record = CODECS[name].decode(data)
    assert list(find_faults(record, RuleContext(NOW_US, CURRENCIES))) == []
    assert summary == summary_of(record)
    assert products.asked == [line.product_id for line in record.line_items]
    assert summary.job is None or is_uuid(summary.job.job_id)
    return True


USUAL: list[SalesRecord] = [
    an_order(),
    a_return(),
    an_order(job=a_place()),
    a_return(job=a_place(type="returns", mode="online", index=99)),
    an_order(site=2**31, mode="online", utc_offset_minutes=-(23 * 60 + 59), region_id=-1, payment_kind="other"),
    an_order(accepted_at=LATEST_US, date_time=LATEST_US, currency="JPY"),
    an_order(date_time=600_000_000_000_000),
    an_order(id="x" * 63, user_id="u" * 127, channel="c" * 63, payment_method="p" * 63, store_id="s" * 63),
    an_order(email_hash="e" * 127, cc_hash="~" * 20, coupon_code="R", coupon_value=Decimal("0.000000")),
    an_order(segment_ids=["", "44", "x" * 63] * 3, segment_names=[f"name {number}" for number in range(10)]),
    an_order(coupon_value=Decimal("9999999999.999999"), line_items=a_line(unit_price=Decimal("0.000001"))),
    an_order(line_items=a_line(quantity=2**27 - 1, sku_id=None) * 63),
    a_return(return_id=" ~", return_value=None, line_items=a_return_line(credit_type=None) + a_return_line()),
]


@pytest.mark.parametrize("record", USUAL, ids=range(len(USUAL)))
def test_usual_records_are_seen(record: SalesRecord) -> None:
    assert matches_truly(name_of(record), encoded(record))


@pytest.mark.parametrize(
    "changes",
    [
        {"accepted_at": LATEST_US + 1},
        {"date_time": LATEST_US + 1},
        {"date_time": -1},
        {"date_time": 0},
        {"utc_offset_minutes": 24 * 60},
        {"utc_offset_minutes": -24 * 60},
        {"currency": "CHF"},
        {"currency": "usd"},
        {"currency": ""},
        {"user_id": ""},
        {"user_id": "u\x7f"},
        {"user_id": "é"},
        {"id": ""},
        {"id": "a\nb"},
        {"id": "x" * (MAX_ID_LENGTH + 1)},
        {"channel": "x" * 129},
        {"channel": "\x1f"},
        {"payment_method": "x" * 65},
        {"email_hash": "a@example.com, whose hash this is"},
        {"email_hash": "4111111111111111"},
        {"cc_hash": "4111 1111 1111 1111 - - - - - -"},
        {"cc_hash": "4111-1111-1111-1111------------"},
        {"cc_hash": "1" * 257},
        {"store_id": ""},
        {"channel": ""},
        {"coupon_code": ""},
        {"cc_hash": ""},
        {"segment_ids": ["x" * 257]},
        {"segment_names": ["\x00"]},
        {"coupon_code": "x" * 129},
        {"coupon_value": Decimal("-0.000001")},
        {"line_items": []},
        {"line_items": a_line(quantity=0)},
        {"line_items": a_line(quantity=-1)},
        {"line_items": a_line(product_id="")},
        {"line_items": a_line(product_id="p\r")},
        {"line_items": a_line(sku_id="")},
        {"line_items": a_line(unit_price=Decimal(-1))},
        {"line_items": a_line() * (MAX_LINES + 1)},
    ],
    ids=str,
)
def test_what_breaks_a_rule_is_not_seen(changes: dict[str, Any]) -> None:
    assert match("order", encoded(an_order(**changes))) is None


@pytest.mark.parametrize("record", USUAL[2:4], ids=name_of)
def test_whatever_becomes_of_one_byte_what_is_seen_is_true(record: SalesRecord) -> None:
    name, data = name_of(record), encoded(record)
    still = sum(matches_truly(name, damaged) for damaged in _damaged(data))
    assert still > len(data), "texts may be others"


def _damaged(data: bytes) -> Iterator[bytes]:
    """Every byte replaced by every other, taken away, doubled; every end cut off."""
    for at, was in enumerate(data):
        before, behind = data[:at], data[at + 1 :]
        yield from (before + bytes((byte,)) + behind for byte in range(256) if byte != was)
        yield from (before, before + behind, before + bytes((was, was)) + behind)
    yield data + b"\0"


@pytest.mark.parametrize("claimed", [1, 63])
@pytest.mark.parametrize(
    "hostile", [b"\0", b"\2", b"~", b"~" * 64 + b"\2"], ids=["zeros", "twos", "tildes", "products"]
)
def test_what_pretends_to_be_lines_costs_little(hostile: bytes, claimed: int) -> None:
    """A compressed batch can hold a thousand of these, and the event loop is blocked while they are matched."""
    data = encoded(an_order(line_items=[]))[:-1] + bytes((2 * claimed,)) + hostile * (65_536 // len(hostile)) + b"\0"
    took = []
    for _ in range(5):
        began = process_time()
        assert match("order", data) is None
        took.append(process_time() - began)
    assert min(took) < 0.005, "seconds for 64 KiB"


LENGTHS = (0, 1, *range(12, 21), *range(62, 66), *range(126, 131), 255, 256, 257)
TEXTS = ["id", "channel", "user_id", "payment_method", "email_hash", "cc_hash", "store_id", "currency", "coupon_code"]


@pytest.mark.parametrize("length", LENGTHS)
def test_texts_of_any_length_are_told_truly(length: int) -> None:
    """Zeros of some lengths are the number of a card."""
    text = "0" * length
    records: list[SalesRecord] = [an_order(**{name: text}) for name in TEXTS]
    records += [an_order(segment_ids=[text]), an_order(segment_names=[text]), an_order(job=a_place(job_id=text))]
    records += [an_order(line_items=a_line(product_id=text)), an_order(line_items=a_line(sku_id=text))]
    records += [a_return(order_id=text), a_return(return_id=text), a_return(line_items=a_return_line(credit_type=text))]
    for record in records:
        matches_truly(name_of(record), encoded(record))


def as_is(number: int) -> bytes:
    return encode_varint(number).encode("latin-1")


MAX_AMOUNT = 10**18 - 1
OUT_OF_BOUNDS: dict[str, tuple[SalesRecord, bytes, bytes]] = {
    "quantity": (an_order(line_items=a_line(quantity=2**31 - 1)), as_is(2**31 - 1), as_is(2**31)),
    "total": (an_order(job=a_place(total=2**31 - 1)), as_is(2**31 - 1), as_is(2**31)),
    "offset": (an_order(utc_offset_minutes=1439), as_is(1439), as_is(2**32 + 1439)),
    "site": (an_order(site=2**63 - 1), as_is(2**63 - 1), b"\xfe" + b"\xff" * 8 + b"\x03"),
    "region": (an_order(region_id=2**63 - 1), as_is(2**63 - 1), b"\xfe" + b"\xff" * 8 + b"\x03"),
    "amount": (
        an_order(coupon_value=Decimal(MAX_AMOUNT).scaleb(-6)),
        MAX_AMOUNT.to_bytes(8, "big"),
        (MAX_AMOUNT + 1).to_bytes(8, "big"),
    ),
    "id of a job": (an_order(job=a_place()), HEADER.job_id.encode(), HEADER.job_id.upper().encode()),
}


@pytest.mark.parametrize("name", OUT_OF_BOUNDS)
def test_what_is_beyond_its_bounds_is_not_seen(name: str) -> None:
    """No encoder writes such numbers."""
    record, was, becomes = OUT_OF_BOUNDS[name]
    data = encoded(record)
    assert data.count(was) == 1
    assert match("order", data.replace(was, becomes)) is None


def test_lines_that_are_not_counted_are_not_seen() -> None:
    """The price of the last one ends as an array does."""
    data = encoded(an_order(line_items=a_line(unit_price=Decimal(0)) * 2))
    head = len(encoded(an_order(line_items=[]))) - 1
    assert (data[head], data[-2:]) == (4, b"\0\0")
    assert match("order", data[:head] + b"\2" + data[head + 1 : -1]) is None


@pytest.mark.parametrize("now_us", [0, 2**47, 2**47 + 2**46, -(2**60)])
def test_by_a_clock_that_is_wrong_nothing_is_past(now_us: int) -> None:
    data = FRAME + encoded(an_order())
    known = AskedProducts()
    pattern = PATTERNS["order"]
    assert pattern.match(data, len(FRAME), now_us, CURRENCIES, lambda _site: known) is None


@pytest.mark.parametrize("unknown", ["first", "second", "third"])
def test_each_product_must_be_one_of_the_site(unknown: str) -> None:
    lines = [line for name in ("first", "second", "third") for line in a_line(product_id=name)]
    data = encoded(an_order(site=612, line_items=lines))
    pattern, asked = PATTERNS["order"], []

    def products_of(site: int) -> Container[str]:
        asked.append(site)
        return AskedProducts(unknown)

    assert match("order", data) is not None
    assert pattern.match(FRAME + data, len(FRAME), NOW_US, CURRENCIES, products_of) is None
    assert asked == [612]


@given(ANY_ORDERS | ANY_RETURNS)
@settings(max_examples=200, deadline=None)
def test_what_is_seen_of_any_record_is_true(record: SalesRecord) -> None:
    matches_truly(name_of(record), encoded(record))


NAMES = [name for name in Order.__struct_fields__ if name not in {"job", "line_items"}]
RARE: dict[str, Any] = {name: ANY_ORDERS.map(attrgetter(name)) for name in NAMES}


@given(st.fixed_dictionaries({}, optional=RARE))
@settings(max_examples=300, deadline=None)
@example({})
def test_what_is_seen_of_a_nearly_usual_order_is_true(changes: dict[str, Any]) -> None:
    matches_truly("order", encoded(an_order(**changes)))


@given(st.integers(0, 12), st.binary(max_size=12), st.integers(0, 400))
@settings(max_examples=500, deadline=None)
def test_what_is_seen_of_patched_bytes_is_true(gone: int, patch: bytes, at: int) -> None:
    data = encoded(USUAL[2])
    try:
        matches_truly("order", data[:at] + patch + data[at + gone :])
    except AvroDecodeError:
        pytest.fail(f"matched, but undecodable: {gone} bytes at {at} replaced by {patch!r}")
