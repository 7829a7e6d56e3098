"""Keys and derived ids."""

from uuid import UUID, uuid5

import pytest

from services.sales.payments import PAYMENT_KINDS, payment_kind
from services.sales.wire import build_key, derive_record_id
from tests.sales.sample import HEADER


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ((608, "pos", "1"), b"608|pos|1"),
        ((608, None, "1"), b"608||1"),
        ((608, "a|b", "50%"), b"608|a%7Cb|50%25"),
        ((608, "a%7Cb", "é"), "608|a%257Cb|é".encode()),
    ],
)
def test_parts_of_a_key_stay_apart(parts: tuple[str | int | None, ...], key: bytes) -> None:
    assert build_key(*parts) == key


def test_a_records_id_derives_from_its_job_and_index() -> None:
    assert derive_record_id(HEADER.job_id, index=7) == str(uuid5(UUID(HEADER.job_id), "7"))


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("Credit card", "credit"),
        ("CREDIT", "credit"),
        ("cash", "cash"),
        ("Cash on delivery", "cash"),
        ("cheque", "check"),
        ("Check", "check"),
        ("digital", "digital"),
        ("PayPal", "digital"),
        ("other", "other"),
        ("", "other"),
        ("Überweisung", "other"),
    ],
)
def test_payment_methods_come_down_to_a_few_kinds(method: str, kind: str) -> None:
    assert payment_kind(method) == kind
    assert kind in PAYMENT_KINDS
