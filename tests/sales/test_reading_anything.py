"""Whatever is sent: nothing but records, refusals or `BodyRefused` comes of it, and both ways of reading agree."""

import json
from datetime import UTC
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.sales import import_request
from services.sales.batch import Batch, BodyRefused
from services.sales.body import parse_at, record_texts
from services.sales.intake import Intake
from services.sales.rules import RULES, Given
from services.sales.soundness import is_sound
from services.sales.verdicts import runs_of_refusals
from tests.sales.sample import CURRENCIES, NOW_US, ORDERS, RETURNS, SITE, by_fastavro, read
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
)


@given(BODIES, REQUESTS)
@settings(max_examples=400, deadline=None)
def test_any_body_is_read_or_refused(body: bytes, request: dict[str, Any]) -> None:
    try:
        batch = read(body, **request)
    except BodyRefused as refusal:
        assert refusal.status in (400, 413)
        return
    assert_consistent(batch)


def assert_consistent(batch: Batch) -> None:
    """Each record is judged once, good ones keep the rules and fit the schema, refused ones are told."""
    indexes = [index for index, _ in batch.good] + [refusal.index for refusal in batch.refused]
    assert sorted(indexes) == list(range(batch.total))
    for _, record in batch.good:
        rules = Given(NOW_US, CURRENCIES)
        assert [fault for rule in RULES for fault in rule(record, rules)] == []
        codec: Any = ORDERS if batch.kind == "orders" else RETURNS
        data = codec.encode(record)
        assert data == by_fastavro(batch.kind.removesuffix("s"), record)
        assert codec.decode(data) == record
    for refusal in batch.refused:
        assert 0 < len(refusal.faults) <= 20
        json.loads(refusal.received or "")
    runs_of_refusals(batch)


@given(st.lists(JSON_RECORDS, min_size=1, max_size=3), REQUESTS)
@settings(max_examples=400, deadline=None)
def test_the_quick_way_and_the_careful_way_agree(records: list[dict[str, Any]], request: dict[str, Any]) -> None:
    records = records[:1] if request["user"] is not None else records
    body = json.dumps(records).encode()
    careful = _carefully(body, **request)
    assert read(body, **request) == careful


def _carefully(body: bytes, *, kind: str, user: str | None, mode: str | None, strict: bool) -> Batch:
    """Read a body with everything unusual."""
    intake = Intake(user, mode, SITE, None, UTC, NOW_US, CURRENCIES)
    texts, _ = record_texts(body, strict=strict, most=100)
    drafts = [import_request.Draft(text, None, parse_at(text, base=0)) for text in texts]
    return import_request.judged(drafts, kind, intake, notes=[])


@given(st.lists(JSON_RECORDS, max_size=6), st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_a_good_record_is_untouched_by_bad_neighbours(neighbours: list[dict[str, Any]], place: int) -> None:
    good = ORDER | {"id": "the good one"}
    place = min(place, len(neighbours))
    alone = read(json.dumps([good]).encode(), mode="offline").good[0][1]
    batch = read(json.dumps([*neighbours[:place], good, *neighbours[place:]]).encode(), mode="offline")
    assert dict(batch.good)[place] == alone


@given(ANY_ORDERS | ANY_RETURNS)
@settings(max_examples=100, deadline=None)
def test_what_looks_sound_keeps_every_rule(record: Any) -> None:
    if is_sound(record, now_us=NOW_US, currencies=CURRENCIES):
        rules = Given(NOW_US, CURRENCIES)
        assert [fault for rule in RULES for fault in rule(record, rules)] == []
