"""What records mean together, and with the path that they were sent to."""

import json
from typing import Any

import pytest

from tests.sales.samples import cases, read, title
from tests.sales.test_fields import ORDER, RETURN


def a_record(case: dict[str, str]) -> str:
    ((kind, members),) = case.items()
    return f"{json.dumps(ORDER if kind == 'order' else RETURN)[:-1]}, {members}}}"


def test_no_more_than_twenty_unknown_fields_of_a_record_are_noted() -> None:
    """And each record has its own."""
    members = ", ".join(f'"unknown {number}": 1' for number in range(30))
    records = [
        a_record({"order": f'"id": {number}, "dateTime": "2022-04-25T03:21:55", {members}'}) for number in (1, 2)
    ]
    notes = read(f"[{','.join(records)}]".encode()).notes
    assert [(note.index, note.code) for note in notes] == [
        (index, code) for index in (0, 1) for code in ("TIMEZONE_ASSUMED", *["UNKNOWN_FIELD"] * 20)
    ]


def test_refusals_are_told_in_the_order_of_their_records() -> None:
    """Those that only their neighbours show to be wrong stand among the others."""
    orders = ['"id": 1', '"id": 1, "couponValue": 7', '"id": 2, "lineItems": []', '"id": 1, "couponValue": 8']
    batch = read(f"[{','.join(a_record({'order': order}) for order in orders)}]".encode())
    assert [rejected.index for rejected in batch.rejected] == [1, 2, 3]


def test_a_refusal_has_the_mode_that_its_record_states() -> None:
    (rejected,) = read(a_record({"order": '"mode": "online"'}).encode(), mode="offline").rejected
    assert rejected.mode == "online"


@pytest.mark.parametrize("record", [{"order": '"id": 1'}, {"return": '"returnId": 1'}, {"order": '"returnId": 1'}])
def test_no_more_than_twenty_faults_of_a_record_are_told(record: dict[str, str]) -> None:
    ((kind, members),) = record.items()
    text = a_record({kind: f'{members}, "lineItems": [{", ".join(["5"] * 30)}]'})
    (rejected,) = read(f"[{text}]".encode(), kind=f"{kind}s").rejected
    assert len(rejected.faults) == 20


@pytest.mark.parametrize("case", cases("batches"), ids=title)
def test_records_are_judged_together_as_the_table_says(case: dict[str, Any]) -> None:
    body = "[" + ",".join(a_record(record) for record in case["records"]) + "]"
    batch = read(
        body.encode(),
        kind=case.get("kind", "orders"),
        user=case.get("user"),
        mode=case.get("mode"),
        channel=case.get("channel"),
    )
    outcomes = {index: "ok" for index, _ in batch.accepted}
    outcomes |= {rejected.index: " ".join(fault.code for fault in rejected.faults) for rejected in batch.rejected}
    assert [outcomes[index] for index in range(batch.total)] == case["gives"]
    if "job" in case:
        assert f"{batch.kind} {batch.mode}" == case["job"]
    if "modes" in case:
        assert [record.mode for _, record in batch.accepted] == case["modes"]
    if "users" in case:
        assert [record.user_id for _, record in batch.accepted] == case["users"]
    assert [note.code for note in batch.notes] == case.get("notes", [])
