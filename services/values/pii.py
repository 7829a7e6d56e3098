"""Detects personal data (PII) where a hash is required."""

import unicodedata

MIN_CARD_DIGITS, MAX_CARD_DIGITS = 13, 19
REMOVED = "[removed]"

_SEPARATORS = str.maketrans("", "", " -\t\u00ad\u2010\u2011\u2012\u2013\u2014\u2015\u2212")


def is_personal_data(text: str) -> bool:
    """Whether `text` contains an @, or is a card number without its spaces and hyphens.

    Look-alikes (full-width digits, a small commercial at) count as their ASCII counterparts.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if "@" in text:
        return True
    if text.isalnum() and not MIN_CARD_DIGITS <= len(text) <= MAX_CARD_DIGITS:
        return False
    return is_card_number(text.translate(_SEPARATORS))


def is_card_number(digits: str) -> bool:
    """Whether `digits` are 13–19 decimal digits with a valid Luhn checksum."""
    return MIN_CARD_DIGITS <= len(digits) <= MAX_CARD_DIGITS and digits.isdecimal() and _passes_luhn(digits)


def _passes_luhn(digits: str) -> bool:
    numbers = [int(digit) for digit in reversed(digits)]
    doubled = (2 * number - 9 if number > 4 else 2 * number for number in numbers[1::2])
    return (sum(numbers[0::2]) + sum(doubled)) % 10 == 0
