"""Codes over HTTP: delivered ones, placeholders for the others, and an audit entry per disclosure."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from services.fulfilment.domain.business_day import MICROS_PER_SECOND
from services.fulfilment.http.responses import next_poll_us
from tests.fulfilment.api_fixtures import ORDERS, V1, ApiClient, api

__all__ = ["api"]


async def test_codes_now_and_later(api: ApiClient) -> None:
    await api.call("POST", V1 + "/stock/CARD/codes", {"codes": ["one", {"redeemCode": "two", "pinCode": "22"}]})
    placed = await api.order(("CARD", 3), ("DEMO-NEVER", 1))
    path = f"{ORDERS}/{placed['transactionId']}/codes"
    response = await api.call("GET", path)
    assert response.headers["Cache-Control"] == "no-store"
    found = await response.json()
    cards, never = found["codes"]
    assert sorted(unit.get("redeemCode", "") for unit in cards["codes"]) == ["", "one", "two"]
    assert {unit["redeemCode"]: unit.get("pinCode") for unit in cards["codes"] if "redeemCode" in unit} == {
        "one": None,
        "two": "22",
    }
    assert [unit["status"] for unit in never["codes"]] == ["PROCESSING"]
    assert found["nextPollAfter"] > placed["createdAt"]
    assert (await api.read(path, sku="DEMO-NEVER"))["codes"] == [never]
    assert (await api.read(path, sku="OTHER"))["codes"] == []
    assert (await api.read(path))["codes"] == found["codes"]


async def test_no_next_poll_once_it_has_ended(api: ApiClient) -> None:
    placed = await api.order(("DEMO-INSTANT", 2))
    found = await api.read(f"{ORDERS}/{placed['transactionId']}/codes")
    assert (found["status"], "nextPollAfter" in found) == ("COMPLETED", False)


async def test_each_disclosure_leaves_a_line_without_codes(api: ApiClient) -> None:
    placed = await api.order(("DEMO-INSTANT", 3), ("DEMO-NEVER", 1))
    found = await api.read(f"{ORDERS}/{placed['transactionId']}/codes")
    await api.read(f"{ORDERS}/{placed['transactionId']}/codes", sku="DEMO-NEVER")
    (line,) = [line for line in api.audit_log.lines if line["action"] == "codes-disclosed"]
    assert (line["actor"], line["codes"], line["transactionId"]) == ("good", 3, placed["transactionId"])
    assert not any(code in str(line) for units in found["codes"] for code in map(_code, units["codes"]) if code)


def _code(unit: Mapping[str, str]) -> str:
    return unit.get("redeemCode", "")


@pytest.mark.parametrize(
    ("due_s", "next_s"), [(-5, 1), (0, 1), (1, 1), (1.5, 1.5), (60, 60), (3_600, 60)], ids=lambda value: f"{value} s"
)
async def test_the_next_poll_makes_sense_neither_at_once_nor_in_hours(
    api: ApiClient, due_s: float, next_s: float
) -> None:
    placed = (await api.harness.place(("DEMO-NEVER", 1))).transaction
    transaction = replace(placed, due_us=api.harness.clock() + int(due_s * MICROS_PER_SECOND))
    assert next_poll_us(transaction, api.harness.clock()) == api.harness.clock() + next_s * MICROS_PER_SECOND
