"""Avro's own values: each function returns one and where it ends.

Raises `IndexError` or `ValueError` where there is none; a text that breaks off ends beyond the end of the data.
"""

# Of the first byte of a number or a length: it is negative, or more bytes follow.
LONG_OR_NEGATIVE = 0x81


def read_long(data: bytes, at: int) -> tuple[int, int]:
    """A number."""
    byte = data[at]
    rest, shift = byte & 127, 7
    while byte > 127:
        at += 1
        byte = data[at]
        rest |= (byte & 127) << shift
        shift += 7
        if shift > 70:
            raise ValueError("a number is too long")
    return rest >> 1 ^ -(rest & 1), at + 1


def read_count(data: bytes, at: int) -> tuple[int, int]:
    """How many items of an array follow as a block; the array ends with a block of none."""
    count, at = read_long(data, at)
    if count < 0:
        # The block's size in bytes follows, for those who would pass over it.
        count, (_, at) = -count, read_long(data, at)
    return count, at


def read_text(data: bytes, at: int) -> tuple[str, int]:
    """A text."""
    length = data[at]
    if length & LONG_OR_NEGATIVE:
        length, at = read_long(data, at)
        if length < 0:
            raise ValueError("a length is negative")
    else:
        length, at = length >> 1, at + 1
    end = at + length
    return data[at:end].decode(), end


def read_optional_text(data: bytes, at: int) -> tuple[str | None, int]:
    """A text or None."""
    branch = data[at]
    if branch == 0:
        return None, at + 1
    if branch != 2:
        raise ValueError("no such branch")
    length = data[at + 1]
    if length & LONG_OR_NEGATIVE:
        return read_text(data, at + 1)
    end = at + 2 + (length >> 1)
    return data[at + 2 : end].decode(), end
