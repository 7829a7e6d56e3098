"""Kinds of payment."""

import pytest

from services.sales.payments import PAYMENT_KINDS, payment_kind


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
