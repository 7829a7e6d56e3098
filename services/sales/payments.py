"""Kinds of payment, and the words in payment methods that name them."""

import re
from functools import lru_cache

CASH, CREDIT, CHECK, DIGITAL, OTHER = "cash", "credit", "check", "digital", "other"
PAYMENT_KINDS = (CASH, CREDIT, CHECK, DIGITAL, OTHER)

_WORDS = {
    "cash": CASH,
    "credit": CREDIT,
    "creditcard": CREDIT,
    "visa": CREDIT,
    "mastercard": CREDIT,
    "amex": CREDIT,
    "check": CHECK,
    "cheque": CHECK,
    "digital": DIGITAL,
    "wallet": DIGITAL,
    "paypal": DIGITAL,
    "applepay": DIGITAL,
    "googlepay": DIGITAL,
}
_WORD = re.compile(r"[a-z]+")


@lru_cache(maxsize=1024)
def payment_kind(method: str) -> str:
    """Return the kind that the first known word of a payment method names, else other. `Credit card` is credit."""
    words = _WORD.findall(method.lower())
    return next((_WORDS[word] for word in words if word in _WORDS), OTHER)
