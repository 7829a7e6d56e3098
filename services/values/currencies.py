"""ISO 4217 codes. Which codes there are comes in by argument."""

from collections.abc import Set as AbstractSet

from services.values.invalid import Invalid, InvalidKind

DEFAULT_CURRENCY = "USD"

_UNKNOWN = Invalid(InvalidKind.CURRENCY, "must be an ISO 4217 currency code")


def validate_currency(code: str, known: AbstractSet[str]) -> Invalid | None:
    """What is wrong with a code that should be canonical (upper case) already, or None."""
    return None if code in known else _UNKNOWN


def read_currency(value: object, known: AbstractSet[str]) -> str | Invalid:
    """The code in upper case; any case is taken."""
    if not isinstance(value, str):
        return _UNKNOWN
    # Only ASCII letters: `upper()` of others may turn into a code.
    code = value.upper() if value.isascii() else value
    return validate_currency(code, known) or code
