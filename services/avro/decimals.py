"""Amounts in Avro: `decimal(18,6)` as bytes. Prices repeat, so the latest are cached in both directions."""

from decimal import Context, Decimal
from functools import lru_cache

from services.avro.varints import AvroDecodeError, encode_varint
from services.values.decimals import FRACTION_DIGITS, INTEGER_DIGITS, quantize

_BOUND = 10 ** (INTEGER_DIGITS + FRACTION_DIGITS)
_MAX_BYTES = 16
_scaleb = Context(prec=INTEGER_DIGITS + FRACTION_DIGITS).scaleb


@lru_cache(maxsize=16_384)
def write_amount(amount: Decimal) -> str:
    """Encode an amount behind its length, one character per byte. Raises `DecimalException` for too many digits."""
    unscaled = int(_scaleb(quantize(amount), FRACTION_DIGITS))
    size = unscaled.bit_length() + 8 >> 3
    return encode_varint(size) + unscaled.to_bytes(size, "big", signed=True).decode("latin-1")


@lru_cache(maxsize=16_384)
def read_amount(data: bytes) -> Decimal:
    """Decode an amount. Raises `AvroDecodeError`."""
    unscaled = int.from_bytes(data, "big", signed=True)
    if not 0 < len(data) <= _MAX_BYTES or abs(unscaled) >= _BOUND:
        raise AvroDecodeError("an amount has too many digits, or none")
    return _scaleb(Decimal(unscaled), -FRACTION_DIGITS)
