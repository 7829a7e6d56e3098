"""Avro's variable-length integers, as texts of one character per byte, which can be joined fastest."""

from functools import lru_cache

MIN_LONG, MAX_LONG = -(2**63), 2**63 - 1
_PAIR_BITS = 14
_PAIR = (1 << _PAIR_BITS) - 1
# Instants of our time take eight bytes.
_MIN_EIGHT_BYTES, _END_EIGHT_BYTES = 1 << 49, 1 << 56


class AvroDecodeError(Exception):
    """Bytes are not a record of the schema. `reason` quotes nothing of them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode_varint(number: int) -> str:
    """Encode a number as a zigzag varint. Raises `ValueError` if it does not fit into 64 bits."""
    if not MIN_LONG <= number <= MAX_LONG:
        raise ValueError("not a 64-bit integer")
    rest = number << 1 ^ number >> 63
    text = ""
    while rest > _PAIR:
        text += _PAIRS[rest & _PAIR]
        rest >>= _PAIR_BITS
    return text + _LAST[rest]


@lru_cache(maxsize=256)
def encode_timestamp(instant: int) -> str:
    """Encode an instant; the latest are cached, because the records of a job share some of theirs."""
    zigzag = instant << 1
    if not _MIN_EIGHT_BYTES <= zigzag < _END_EIGHT_BYTES:
        return encode_varint(instant)
    return f"{_PAIRS[zigzag & _PAIR]}{_PAIRS[zigzag >> 14 & _PAIR]}{_PAIRS[zigzag >> 28 & _PAIR]}{_LAST[zigzag >> 42]}"


class VarintCache(dict[int, str]):
    """The varints of small numbers; others are encoded when asked for, and not kept."""

    def __missing__(self, number: int) -> str:
        return encode_varint(number)


class VarintLengths:
    """Replaces the list of varints for lengths that it does not hold."""

    def __getitem__(self, length: int) -> str:
        return encode_varint(length)


def read_varint(data: bytes, first: int, position: int) -> tuple[int, int]:
    """Return the number whose first byte has already been read, and the position behind it."""
    rest = first & 127
    shift = 7
    while first > 127:
        first = data[position]
        position += 1
        rest |= (first & 127) << shift
        shift += 7
        if shift > 70:
            raise AvroDecodeError("a number is too long")
    if rest >> 64:
        raise AvroDecodeError("a number is too large")
    return rest >> 1 ^ -(rest & 1), position


@lru_cache(maxsize=4096)
def read_timestamp_fast(eight: bytes) -> int | None:
    """Return the number that takes all eight bytes, as instants of our time do; None for anything else.

    The records of a job share their instants, so the latest are cached.
    """
    if len(eight) < 8 or eight[7] > 127 or not all(byte > 127 for byte in eight[:7]):
        return None
    return read_varint(eight, eight[0], 1)[0]


def read_int(data: bytes, first: int, position: int) -> tuple[int, int]:
    """Read a 32-bit integer; see `read_varint`."""
    number, position = read_varint(data, first, position)
    if not -(2**31) <= number < 2**31:
        raise AvroDecodeError("a number is too large")
    return number, position


def read_length(data: bytes, first: int, position: int) -> tuple[int, int]:
    """Read a length; see `read_varint`."""
    length, position = read_varint(data, first, position)
    if length < 0:
        raise AvroDecodeError("a length is negative")
    return length, position


def read_block(data: bytes, first: int, position: int) -> tuple[int, int]:
    """Return the number of items in a block of an array, and the position of the first.

    After a negative number comes the block's size in bytes, which is skipped.
    """
    count, position = read_varint(data, first, position)
    if count < 0:
        _, position = read_length(data, data[position], position + 1)
        count = -count
    return count, position


def _last(number: int) -> str:
    return chr(number) if number < 128 else chr(number & 127 | 128) + chr(number >> 7)


_PAIRS = [chr(number & 127 | 128) + chr(number >> 7 | 128) for number in range(_PAIR + 1)]
_LAST = [_last(number) for number in range(_PAIR + 1)]
LENGTHS = [encode_varint(length) for length in range(4096)]
NUMBERS = VarintCache((number, encode_varint(number)) for number in range(-64, 4096))
