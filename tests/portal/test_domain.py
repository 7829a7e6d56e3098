"""What is decided without I/O: failures, money, formats."""

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from services.chassis.runtime.time_zones import load_time_zone
from services.portal.domain.failures import FailureCounter, merge_reports, money_of, strip_positions
from services.portal.domain.fault_texts import TEXTS, describe_fault
from services.portal.domain.origins import own_path
from services.portal.http.formats import Formats, parse_locale
from services.sales.faults import FaultCode
from tests.portal.apis import a_failed_record
from tillstream.models import RecordResult


def a_record(**fields: Any) -> RecordResult:
    return msgspec.convert(a_failed_record(**fields), RecordResult)


def test_every_fault_has_words() -> None:
    assert set(TEXTS) == {code.value for code in FaultCode}
    assert describe_fault("SOMETHING_NEW").title == "Something new"


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"lineItems": [{"quantity": 2, "unitPrice": "10.25"}], "currency": "EUR"}, ("EUR", "20.50")),
        ({"lineItems": [{"quantity": "3", "unitPrice": 0.1}]}, ("", "0.3")),
        ({"lineItems": [{"quantity": 1, "unitPrice": "1"}, "x", {"quantity": True, "unitPrice": 5}]}, ("", "1")),
        ({"lineItems": [{"quantity": "NaN", "unitPrice": "1"}, {"quantity": "1e99999", "unitPrice": 1}]}, ("", "0")),
        ({"lineItems": {"a": 1}, "currency": 7}, ("", "0")),
        ({"lineItems": [{"quantity": "9" * 50, "unitPrice": 1}], "currency": "EURO"}, ("", "0")),
        ("not a record", ("", "0")),
        (None, ("", "0")),
    ],
)
def test_the_money_of_a_record_that_may_be_malformed(record: Any, expected: tuple[str, str]) -> None:
    assert money_of(record) == (expected[0], Decimal(expected[1]))


@pytest.mark.parametrize(
    ("pointer", "stripped"),
    [("/lineItems/3/quantity", "/lineItems/quantity"), ("/lineItems/0", "/lineItems"), ("/1a/b2", "/1a/b2"), ("", "")],
)
def test_positions_do_not_make_groups(pointer: str, stripped: str) -> None:
    assert strip_positions(pointer) == stripped


def test_a_record_counts_once_in_each_of_its_groups_and_once_in_the_money() -> None:
    fault = {"code": "MISSING_FIELD", "field": "/lineItems/0/quantity", "message": "m", "retryable": False}
    faults = [fault, fault | {"field": "/lineItems/1/quantity"}, fault | {"code": "INVALID_DATE", "field": "/dateTime"}]
    counter = FailureCounter()
    for index in range(5):
        counter.add(msgspec.convert(a_failed_record(index) | {"faults": faults}, RecordResult))
    report = counter.report(is_complete=True)
    assert [(group.code, group.field, group.records, len(group.samples)) for group in report.groups] == [
        ("INVALID_DATE", "/dateTime", 5, 3),
        ("MISSING_FIELD", "/lineItems/quantity", 5, 3),
    ]
    assert report.money == {"EUR": Decimal("102.50")}
    merged = merge_reports([report, report])
    assert [group.records for group in merged.groups] == [10, 10]
    assert merged.money == {"EUR": Decimal("205.00")}


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("de-DE,de;q=0.9", "1.234.567,5"),
        ("en-US", "1,234,567.5"),
        ("fr-CH;q=0.1, en-GB;q=0.9", "1,234,567.5"),
        ("ar-EG,de;q=0.1", "1.234.567,5"),
        ("xx-invalid-@@, de", "1.234.567,5"),
        ("*", "1,234,567.5"),
        ("", "1,234,567.5"),
        ("de;q=x,en;q=0", "1,234,567.5"),
    ],
)
def test_numbers_are_in_the_readers_locale(header: str, shown: str) -> None:
    formats = Formats(parse_locale(header), load_time_zone("UTC"), "UTC")
    assert formats.number(Decimal("1234567.5")) == shown


@pytest.mark.parametrize(
    ("zone", "text", "shown", "beside"),
    [
        ("Europe/Paris", "2026-11-30T10:15:00.123456789Z", "30 Nov 2026, 11:15", "10:15 UTC"),
        ("Asia/Tokyo", "2026-11-30T16:15:00.500Z", "1 Dec 2026, 01:15", "30 Nov, 16:15 UTC"),
        ("UTC", "2026-11-30T10:15:00Z", "30 Nov 2026, 10:15", "UTC"),
        ("Europe/London", "2026-11-30T10:15:00Z", "30 Nov 2026, 10:15", "UTC"),
    ],
)
def test_times_are_in_the_sites_zone_with_utc_beside(zone: str, text: str, shown: str, beside: str) -> None:
    markup = str(Formats(parse_locale("en"), load_time_zone(zone), zone).time(text))
    assert f">{shown} <span" in markup
    assert f">{beside}</span>" in markup


@pytest.mark.parametrize(
    ("text", "shown"),
    [("00:00:00", "< 1 s"), ("00:00:07", "7 s"), ("00:01:00", "1 min"), ("27:03:04", "27 h 3 min 4 s")],
)
def test_a_duration_is_in_words(text: str, shown: str) -> None:
    assert Formats(parse_locale("en"), load_time_zone("UTC"), "UTC").duration(text) == shown


def test_money_without_a_currency_comes_last() -> None:
    formats = Formats(parse_locale("en"), load_time_zone("UTC"), "UTC")
    money = {"": Decimal(50), "USD": Decimal(2), "EUR": Decimal("3.5")}
    assert formats.amounts(money) == "€3.50 + $2.00 + 50.00 without a currency"
    assert formats.amounts({"": Decimal(50)}) == "50.00"


@pytest.mark.parametrize(
    ("part", "whole", "shown"), [(1, 3, "33%"), (1, 1000, "0.1%"), (0, 10, "0%"), (0, 0, "0%"), (10, 10, "100%")]
)
def test_a_small_share_is_not_nothing(part: int, whole: int, shown: str) -> None:
    assert Formats(parse_locale("en"), load_time_zone("UTC"), "UTC").percent(part, whole) == shown


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/portal/jobs?state=FAILED", "/portal/jobs?state=FAILED"),
        ("https://evil.example", "/portal/"),
        ("//evil.example", "/portal/"),
        ("/portal/x\r\nSet-Cookie: a", "/portal/"),
        ("/portalx", "/portal/"),
    ],
)
def test_nobody_is_led_elsewhere(target: str, path: str) -> None:
    assert own_path(target) == path
