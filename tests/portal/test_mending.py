"""Records become texts to be edited, and records again: nothing changes that nobody has changed."""

import json
from decimal import Decimal
from typing import Any

import pytest

from services.portal.domain.mending import (
    Fault,
    apply_edits,
    decode_record,
    encode_record,
    has_fields,
    list_fields,
    other_faults,
    prepare_record,
    to_text,
)

RECORD: dict[str, Any] = {
    "id": "00012",
    "userId": "u",
    "dateTime": "2024-05-01T10:00:00Z",
    "segmentIds": ["44", "55"],
    "regionId": -1,
    "till": {"shelf": 3},
    "lineItems": [
        {"productId": "p", "quantity": 1, "unitPrice": Decimal("123456789012.123456")},
        {"productId": "q", "quantity": "two", "unitPrice": "9.990"},
    ],
}


def all_texts(record: dict[str, Any]) -> dict[str, str]:
    return {field.pointer: field.value for field in list_fields(record, "orders", [])}


def test_what_is_not_changed_keeps_its_value_to_the_digit() -> None:
    """Breaks if a form that is only checked makes a number of a text, drops zeros, or loses fields that it lacks."""
    assert apply_edits(RECORD, "orders", all_texts(RECORD)) == RECORD
    assert decode_record(encode_record(RECORD)) == RECORD


@pytest.mark.parametrize(
    ("pointer", "text", "value"),
    [
        ("/lineItems/1/quantity", "2", 2),
        ("/lineItems/1/quantity", " 3 ", 3),
        ("/lineItems/1/quantity", "many", "many"),
        ("/lineItems/0/unitPrice", "1,50", Decimal("1.50")),
        ("/lineItems/0/unitPrice", "1e400", "1e400"),
        ("/lineItems/0/unitPrice", "cheap", "cheap"),
        ("/lineItems/0/unitPrice", "NaN", "NaN"),
        ("/lineItems/0/productId", "4556", "4556"),
    ],
)
def test_a_text_becomes_what_the_field_holds(pointer: str, text: str, value: object) -> None:
    edited = apply_edits(RECORD, "orders", {pointer: text})
    _, _, line, name = pointer.split("/")
    assert edited["lineItems"][int(line)][name] == value
    assert type(edited["lineItems"][int(line)][name]) is type(value)


def test_fields_of_the_record_are_edited_emptied_and_added() -> None:
    edits = {"/userId": "", "/currency": "EUR", "/segmentIds": "1, 2", "/regionId": "7", "/unknown": "x", "/till": "y"}
    edited = apply_edits(RECORD, "orders", edits)
    assert "userId" not in edited
    assert (edited["currency"], edited["segmentIds"], edited["regionId"]) == ("EUR", ["1", "2"], 7)
    assert (edited["till"], "unknown" in edited) == ({"shelf": 3}, False)
    assert RECORD["userId"] == "u", "the original is not touched"


def test_a_record_without_lines_gets_one() -> None:
    bare = {"id": "1"}
    assert "/lineItems/0/productId" in all_texts(bare)
    assert apply_edits(bare, "orders", {"/lineItems/0/productId": "p"})["lineItems"] == [{"productId": "p"}]
    assert apply_edits(bare, "orders", all_texts(bare)) == bare


def test_faults_stand_beside_their_fields() -> None:
    faults = [
        Fault("INVALID_QUANTITY", "/lineItems/1/quantity", "a number, not a text"),
        Fault("INVALID_CURRENCY", "/currency", "unknown"),
        Fault("AMBIGUOUS_RECORD", "", "both"),
    ]
    fields = list_fields(RECORD, "orders", faults)
    shown = {field.pointer: field for field in fields}
    assert [fault.code for fault in shown["/lineItems/1/quantity"].faults] == ["INVALID_QUANTITY"]
    assert (shown["/currency"].value, shown["/currency"].is_required) == ("", False)
    assert shown["/lineItems/1/quantity"].line == 2
    assert shown["/id"].is_required
    assert "/couponCode" not in shown
    assert other_faults(fields, faults) == [faults[2]]


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "x",
        {"lineItems": {}},
        {"lineItems": [1]},
        {"id": {"a": 1}},
        {"segmentIds": ["a,b"]},
        {"lineItems": None},
    ],
)
def test_what_has_another_shape_is_edited_as_json(record: Any) -> None:
    assert not has_fields(record)


def test_a_record_is_completed_by_its_request() -> None:
    """The user was in the path, the mode in the query; the server has added when it was accepted."""
    record = {"id": "1", "userId": "", "acceptedAt": "2024-05-01T10:00:00Z"}
    assert prepare_record(record, mode="online", user_id="u") == {"id": "1", "userId": "u", "mode": "online"}
    kept = {"userId": "v", "mode": "offline"}
    assert prepare_record(kept, mode="online", user_id="u") == kept
    assert prepare_record("x", mode="online", user_id="u") == "x"


def test_json_that_is_broken_is_refused() -> None:
    for text in ("{", "", "[" * 10_000):
        with pytest.raises(ValueError, match="not valid JSON"):
            decode_record(text)
    assert json.loads(encode_record(decode_record('{"a": 1.10}'))) == {"a": 1.1}
    assert encode_record(decode_record('{"a": 1.10}')) == b'{"a":1.10}'


def test_texts() -> None:
    assert [to_text(value) for value in (None, True, [1, "a"], Decimal("1E+3"), Decimal("1E+99"), 7)] == [
        "",
        "true",
        "1, a",
        "1000",
        "1E+99",
        "7",
    ]
