"""Any body yields records, rejections or `InvalidBodyError`, and the fast and the careful reader agree."""

import json
import re
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.sales import import_request
from services.sales.batch import Batch, ImportContext, ImportTarget, InvalidBodyError, SiteDefaults
from services.sales.fast_check import passes_fast_check
from services.sales.fast_json_reader import is_surely_printable
from services.sales.field_types import RuleContext
from services.sales.outcome_runs import build_rejection_runs
from services.sales.request_body import parse_at, split_records
from services.sales.rules import find_faults
from tests.sales.samples import CURRENCIES, NOW_US, ORDERS, RETURNS, SITE, by_fastavro, read
from tests.sales.strategies import ANYTHING, JSON_RECORDS
from tests.sales.strategies import ORDERS as ANY_ORDERS
from tests.sales.strategies import RETURNS as ANY_RETURNS
from tests.sales.test_fields import ORDER

REQUESTS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["orders", "returns"]),
        "user": st.sampled_from([None, None, "u1", "a\x00"]),
        "mode": st.sampled_from([None, None, "offline", "online"]),
        "strict": st.booleans(),
    }
)
BODIES = (
    st.binary(max_size=60)
    | st.text(st.sampled_from('[]{}":,0123456789.eE+-truefalsn\\u \u00a0é'), max_size=60).map(str.encode)
    | ANYTHING.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON_RECORDS | ANYTHING, max_size=4).map(lambda value: json.dumps(value).encode())
    # Halves of surrogate pairs in names and values.
    | st.lists(JSON_RECORDS, max_size=4).map(lambda value: re.sub("[as]", r"\\ud83d", json.dumps(value)).encode())
)


@given(BODIES, REQUESTS)
@settings(max_examples=400, deadline=None)
def test_any_body_is_read_or_refused(body: bytes, request: dict[str, Any]) -> None:
    try:
        batch = read(body, **request)
    except InvalidBodyError as rejected:
        assert rejected.status in (400, 413)
        return
    assert_consistent(batch)


def assert_consistent(batch: Batch) -> None:
    """Each record is accepted or rejected once; accepted ones keep the rules and fit the schema."""
    indexes = [index for index, _ in batch.accepted] + [rejected.index for rejected in batch.rejected]
    assert sorted(indexes) == list(range(batch.total))
    for _, record in batch.accepted:
        assert list(find_faults(record, RuleContext(NOW_US, CURRENCIES))) == []
        codec: Any = ORDERS if batch.kind == "orders" else RETURNS
        data = codec.encode(record)
        assert data == by_fastavro(batch.kind.removesuffix("s"), record)
        assert codec.decode(data) == record
    for rejected in batch.rejected:
        assert 0 < len(rejected.faults) <= 20
        json.loads(rejected.received_json or "")
    build_rejection_runs(batch)


@given(st.lists(JSON_RECORDS, min_size=1, max_size=3), REQUESTS)
@settings(max_examples=400, deadline=None)
def test_the_quick_way_and_the_careful_way_agree(records: list[dict[str, Any]], request: dict[str, Any]) -> None:
    records = records[:1] if request["user"] is not None else records
    body = json.dumps(records).encode()
    careful = _carefully(body, **request)
    assert read(body, **request) == careful


TEXTS = ("id", "channel", "userId", "paymentMethod", "emailHash", "storeId", "couponCode", "productId", "skuId")


@pytest.mark.parametrize("character", ["\x7f", "\x00", "\n", "\\", "é", "\u0085", "a"], ids=ascii)
@pytest.mark.parametrize("name", TEXTS)
def test_both_ways_agree_on_a_character(name: str, character: str) -> None:
    """The fast check skips texts that a glance at the body shows to be printable."""
    text = f"card{character}"
    (line,) = ORDER["lineItems"]
    is_of_line = name in ("productId", "skuId")
    order = ORDER | ({"lineItems": [line | {name: text}]} if is_of_line else {name: text})  # type: ignore[operator]
    for body in (json.dumps([order]).encode(), json.dumps([order], ensure_ascii=False).encode()):
        batch = read(body)
        assert batch == _carefully(body, kind="orders", user=None, mode=None, strict=False)
        assert bool(batch.accepted) == (character in "\\éa")


@pytest.mark.parametrize(
    "own", [{"user": "u\x7f"}, {"user": "u\x00"}, {"channel": "c\x07"}, {"channel": "c\x85"}], ids=ascii
)
def test_both_ways_agree_on_what_the_request_sets(own: dict[str, str]) -> None:
    order = {name: value for name, value in ORDER.items() if name not in ("userId", "channel")}
    body = json.dumps(order | ({} if "user" in own else {"userId": "u1"})).encode()
    request: dict[str, Any] = {"user": None, "channel": None} | own
    assert read(body, **request) == _carefully(body, kind="orders", mode=None, strict=False, **request)


def test_the_glance_recognises_usual_bodies() -> None:
    context = ImportContext(
        ImportTarget("orders", "u1", None), SiteDefaults(SITE, UTC, "till"), RuleContext(NOW_US, CURRENCIES)
    )
    assert is_surely_printable(json.dumps(ORDER, indent=2).encode(), context)


def _carefully(
    body: bytes, *, kind: str, user: str | None, mode: str | None, strict: bool, channel: str | None = None
) -> Batch:
    """Read a body without the fast reader."""
    target, defaults = ImportTarget(kind, user, mode), SiteDefaults(SITE, UTC, channel)
    context = ImportContext(target, defaults, RuleContext(NOW_US, CURRENCIES))
    texts, _ = split_records(body, strict=strict, max_records=100)
    elements = [import_request.ParsedElement(text, None, parse_at(text, base=0)) for text in texts]
    return import_request.assemble_batch(elements, context, notes=[])


@given(st.lists(JSON_RECORDS, max_size=6), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_a_good_record_is_untouched_by_bad_neighbours(neighbours: list[dict[str, Any]], place: int) -> None:
    good = ORDER | {"id": "the good one"}
    place = min(place, len(neighbours))
    alone = read(json.dumps([good]).encode(), mode="offline").accepted[0][1]
    batch = read(json.dumps([*neighbours[:place], good, *neighbours[place:]]).encode(), mode="offline")
    assert dict(batch.accepted)[place] == alone


@given(ANY_ORDERS | ANY_RETURNS)
@settings(max_examples=100, deadline=None)
def test_what_looks_sound_keeps_every_rule(record: Any) -> None:
    if passes_fast_check(record, now_us=NOW_US, currencies=CURRENCIES):
        assert list(find_faults(record, RuleContext(NOW_US, CURRENCIES))) == []
