"""What is refused, or taken, as a whole."""

import json
from typing import Any

import pytest

from services.sales.batch import InvalidBodyError
from tests.sales.samples import cases, read, title
from tests.sales.test_fields import ORDER


def a_body(case: dict[str, Any]) -> bytes:
    if "bytes" in case:
        return bytes.fromhex(case["bytes"])
    if "deep" in case:
        nested = "[" * case["deep"] + "]" * case["deep"]
        return f'[{{"unknown": {nested}}}]'.encode()
    if "copies" in case:
        orders = [ORDER | {"id": number} for number in range(case["copies"])]
        text = json.dumps(orders) if case["copies"] else json.dumps(ORDER)
    else:
        text = case["body"].replace("@{100}", ",{}" * 100) * case.get("times", 1)
        text = text.replace("@{deep}", "[" * 70 + "]" * 70).replace("@{orders}", ",".join([json.dumps(ORDER)] * 100))
    return f"{case.get('before', '')}{text}{case.get('after', '')}".encode()


@pytest.mark.parametrize("case", cases("bodies"), ids=title)
def test_a_body_is_taken_or_refused_as_a_whole(case: dict[str, Any]) -> None:
    body = a_body(case)
    given: dict[str, Any] = {"user": case.get("user"), "strict": case.get("strict", False)}
    if "refused" not in case:
        batch = read(body, **given)
        assert (batch.total, len(batch.accepted)) == (case["total"], case["total"])
        assert [note.code for note in batch.notes] == case.get("notes", [])
        assert all(note.index is None for note in batch.notes)
        return
    with pytest.raises(InvalidBodyError) as rejected:
        read(body, **given)
    assert f"{rejected.value.status} {rejected.value.code}" == case["refused"]
    assert rejected.value.pointer == case.get("pointer", "")
    if "at" in case:
        assert rejected.value.detail.endswith(f"at byte {case['at']}")


MIB = 1024 * 1024
LARGE = {
    "empty objects": b"[" + b"{}," * MIB + b"{}]",
    "empty arrays": b"[" + b"[]," * MIB + b"[]]",
    "brackets": b"[" * 4 * MIB,
    "one number": b'[{"id":' + b"7" * 4 * MIB + b"}]",
    "one fraction": b'[{"couponValue":1.' + b"0" * 4 * MIB + b"}]",
    "one hash": b'[{"ccHash":"' + b"4 " * 2 * MIB + b'"}]',
    "segments": b'[{"segmentIds":[' + b"1," * 2 * MIB + b"1]}]",
    "lines": b'[{"lineItems":[' + b"{}," * MIB + b"{}]}]",
}


@pytest.mark.parametrize("name", LARGE)
def test_a_large_body_has_a_short_answer(name: str) -> None:
    """Whatever is sent, little is kept of it."""
    try:
        batch = read(LARGE[name])
    except InvalidBodyError as rejected:
        assert len(rejected.detail) < 200
    else:
        assert len(repr(batch)) < 10_000
        assert batch.rejected[0].received_json is None
