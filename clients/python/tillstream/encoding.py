"""Records as JSON: decimals stay exact, times get their offset."""

from typing import Any

import msgspec


def _encode_other(value: Any) -> Any:
    raise TypeError(f"a record cannot hold a {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_other, decimal_format="number")


def encode_records(records: Any) -> bytes:
    """Return JSON. `Decimal` becomes a number with all its digits, `datetime` a text in ISO 8601."""
    return _ENCODER.encode(records)
