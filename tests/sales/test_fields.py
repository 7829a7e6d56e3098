"""Every cell of the field table, as a row of `cases/fields.yaml`."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from services.sales.records import SalesRecord
from services.sales.rules import check_record
from services.values.time_uuids import time_uuid
from tests.sales.samples import CURRENCIES, NOW_US, a_place, cases, read, title

ORDER = {
    "id": "1723ABC",
    "channel": "6a700f55b7059e38",
    "userId": "userA2",
    "dateTime": "2022-04-25T12:21:55+09:00",
    "lineItems": [{"productId": "4556", "skuId": "sku1", "quantity": 10, "unitPrice": 256.678}],
}
RETURN = {key: value for key, value in ORDER.items() if key != "id"} | {"orderId": "13", "returnId": "15"}


def expanded(text: str) -> str:
    """`@{128}` as 128 sevens."""
    return re.sub(r"@\{(\d+)\}", lambda found: "7" * int(found[1]), text)


def a_record(case: dict[str, Any]) -> str:
    """The JSON text of a row's record."""
    record: dict[str, Any] = dict(ORDER if case.get("kind", "orders") == "orders" else RETURN)
    for name in case.get("without", ()):
        record.pop(name, None)
    text = json.dumps(record)
    if "put" in case:
        text = f"{text[:-1]}, {expanded(case['put'])}}}"
    if "line" in case:
        text = text.replace("256.678", f"256.678, {expanded(case['line'])}")
    return text


def expected(value: Any) -> Any:
    return expanded(value) if isinstance(value, str) else value


def same(found: Any, wanted: Any) -> bool:
    return bool(found == (Decimal(wanted) if isinstance(found, Decimal) else expected(wanted)))


@pytest.mark.parametrize("case", cases("fields"), ids=title)
def test_a_field_is_read_as_the_table_says(case: dict[str, Any]) -> None:
    batch = read(f"[{a_record(case)}]".encode(), kind=case.get("kind", "orders"))
    faults = [f"{fault.code} {fault.field}" for rejected in batch.rejected for fault in rejected.faults]
    assert faults == case.get("faults", [])
    assert [note.code for note in batch.notes] == case.get("notes", [])
    assert len(batch.accepted) + len(batch.rejected) == batch.total == 1
    for _, record in batch.accepted:
        assert_gives(record, case)


def assert_gives(record: SalesRecord, case: dict[str, Any]) -> None:
    for name, wanted in case.get("gives", {}).items():
        assert same(getattr(record, name), wanted), name
    for name, wanted in case.get("gives_line", {}).items():
        assert same(getattr(record.line_items[0], name), wanted), name
    # The validator sees the record of a job, whose id was made when ingest accepted it.
    published = replace(record, job=a_place(job_id=time_uuid(NOW_US, clock_seq=0, node=0)))
    assert check_record(published, now_us=NOW_US, currencies=CURRENCIES) == []


@pytest.mark.parametrize("case", cases("fields"), ids=title)
def test_the_same_record_by_put_has_the_same_faults(case: dict[str, Any]) -> None:
    """Except those of the user, who is in the path."""
    batch = read(a_record(case).encode(), kind=case.get("kind", "orders"), user="userA2")
    faults = [fault for rejected in batch.rejected for fault in rejected.faults if fault.field != "/userId"]
    wanted = [fault for fault in case.get("faults", []) if not fault.endswith("/userId")]
    assert [f"{fault.code} {fault.field}" for fault in faults] == wanted
