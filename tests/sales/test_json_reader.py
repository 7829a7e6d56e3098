"""Any body yields records, rejections or `InvalidBodyError`, and the fast and the careful reader agree."""

import json
import re
from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sales import import_request
from services.sales.batch import Batch, ImportContext, ImportTarget, InvalidBodyError, SiteDefaults
from services.sales.fast_check import passes_fast_check
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


def _carefully(body: bytes, *, kind: str, user: str | None, mode: str | None, strict: bool) -> Batch:
    """Read a body without the fast reader."""
    target, defaults = ImportTarget(kind, user, mode), SiteDefaults(SITE, UTC, None)
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
