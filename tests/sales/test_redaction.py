"""Personal data in place of a hash appears nowhere in what ingest keeps or reports."""

import json
from typing import Any

import msgspec
import pytest

from services.sales.json_writer import to_json
from services.sales.outcome_runs import build_rejection_runs
from services.sales.rules import check_record
from tests.sales.samples import CURRENCIES, NOW_US, an_order, read
from tests.sales.test_fields import ORDER

ADDRESS = "canary@example.com"
CARD = "4111 1111-1111 1111"
DIGITS = 4111111111111111


def output_of(body: str) -> str:
    """Everything that ingest keeps and reports of a body."""
    batch = read(body.encode())
    runs = msgspec.json.encode(build_rejection_runs(batch)).decode()
    return f"{batch!r}{runs}"


def assert_gone(text: str) -> None:
    for canary in (ADDRESS, "canary@", CARD, str(DIGITS), "4111111111111111"):
        assert canary not in text


@pytest.mark.parametrize("field", ["emailHash", "ccHash"])
@pytest.mark.parametrize("value", [ADDRESS, CARD, DIGITS, [ADDRESS], {"plain": ADDRESS}, {ADDRESS: CARD}, "x" * 300])
def test_a_refused_hash_is_replaced(field: str, value: Any) -> None:
    batch = read(json.dumps([ORDER | {field: value}]).encode())
    assert json.loads(batch.rejected[0].received_json or "")[field] == "[removed]"
    assert_gone(output_of(json.dumps([ORDER | {field: value}])))


@pytest.mark.parametrize("field", ["email", "emailhash", "EMAIL_HASH", "customer", "note", ADDRESS, CARD])
@pytest.mark.parametrize("value", [ADDRESS, CARD, DIGITS, [[ADDRESS]], {"deep": {"emailHash": ADDRESS}}, {ADDRESS: 1}])
def test_unknown_fields_of_a_refused_record_tell_no_personal_data(field: str, value: Any) -> None:
    record = ORDER | {"id": None, field: value}
    assert_gone(output_of(json.dumps([record])))


@pytest.mark.parametrize("value", [ADDRESS, CARD, DIGITS, 4111111111111111.0, {"mail": ADDRESS}])
def test_lines_of_a_refused_record_tell_no_personal_data(value: Any) -> None:
    line = {"productId": "1", "quantity": 0, "unitPrice": 1, "emailHash": value}
    assert_gone(output_of(json.dumps([ORDER | {"lineItems": [line, value]}])))


@pytest.mark.parametrize("card", [4222222222222, 378282246310005, 6304000000000000000])
def test_numbers_of_cards_are_gone_however_long_they_are(card: int) -> None:
    assert str(card) not in output_of(json.dumps([ORDER | {"id": None, "note": card}]))


@pytest.mark.parametrize("name", ["channel", "userId", "segmentIds", "couponCode", "lineItems"])
def test_values_where_they_do_not_belong_tell_no_personal_data(name: str) -> None:
    assert_gone(output_of(json.dumps([ORDER | {name: {"emailHash": ADDRESS, "card": CARD}}])))


def test_a_shadowed_hash_is_gone_with_its_shadow() -> None:
    text = json.dumps(ORDER)[:-1]
    assert_gone(output_of(f'[{text}, "emailHash": "{ADDRESS}", "emailHash": "fine", "id": ""}}]'))


def test_a_refused_duplicate_is_kept_without_personal_data() -> None:
    second = ORDER | {"userId": "other", "note": ADDRESS}
    assert_gone(output_of(json.dumps([ORDER, second])))


def test_the_rest_of_a_refused_record_is_kept_as_received() -> None:
    members = '"id":"","couponValue":1.50,"big":1e99999999999999999999,"n":-0,"t":"\\u00e9","list":[1.0,null,true]'
    (rejected,) = read(f"{{{members}}}".encode()).rejected
    assert rejected.received_json == f"{{{members}}}".replace("-0", "0").replace("\\u00e9", "é")


def test_a_canonical_record_is_told_without_personal_data() -> None:
    """Kafka producers may send anything."""
    order = an_order(email_hash=ADDRESS, cc_hash=CARD)
    assert [fault.code for fault in check_record(order, now_us=NOW_US, currencies=CURRENCIES)] == ["PII_NOT_HASHED"] * 2
    assert_gone(to_json(order))
    assert json.loads(to_json(order))["emailHash"] == "[removed]"
