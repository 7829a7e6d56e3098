"""ISO 4217 currency codes; the list of codes is an argument."""

from collections.abc import Set as AbstractSet

from services.values.invalid import Invalid, InvalidKind

DEFAULT_CURRENCY = "USD"

_UNKNOWN = Invalid(InvalidKind.CURRENCY, "must be an ISO 4217 currency code")


def validate_currency(code: str, known: AbstractSet[str]) -> Invalid | None:
    """Validate a code in upper case."""
    return None if code in known else _UNKNOWN


def read_currency(value: object, known: AbstractSet[str]) -> str | Invalid:
    """Return the code in upper case; any case is accepted."""
    if not isinstance(value, str):
        return _UNKNOWN
    # Only ASCII: `upper()` may turn other letters into a valid code.
    code = value.upper() if value.isascii() else value
    return validate_currency(code, known) or code
