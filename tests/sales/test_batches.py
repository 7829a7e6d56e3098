"""What records mean together, and with the path that they were sent to."""

import json
from typing import Any

import pytest

from tests.sales.sample import cases, read, title
from tests.sales.test_fields import ORDER, RETURN


def a_record(case: dict[str, str]) -> str:
    ((kind, members),) = case.items()
    return f"{json.dumps(ORDER if kind == 'order' else RETURN)[:-1]}, {members}}}"


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
    told = {index: "ok" for index, _ in batch.good}
    told |= {refusal.index: " ".join(fault.code for fault in refusal.faults) for refusal in batch.refused}
    assert [told[index] for index in range(batch.total)] == case["gives"]
    if "job" in case:
        assert f"{batch.kind} {batch.mode}" == case["job"]
    if "modes" in case:
        assert [record.mode for _, record in batch.good] == case["modes"]
    if "users" in case:
        assert [record.user_id for _, record in batch.good] == case["users"]
    assert [note.code for note in batch.notes] == case.get("notes", [])
