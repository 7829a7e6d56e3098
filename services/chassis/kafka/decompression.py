"""What a compressed record batch holds, and never more of it than a bound.

Brokers look at the size of what is compressed only: 30 KB can hold a gigabyte. They read gzip as Java does, which minds
nothing that comes after its end.
"""

import struct
import zlib
from collections.abc import Callable, Mapping

import cramjam

# What clients compress is rarely larger than a batch of 8 MiB to begin with.
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024

_GZIP_ONLY = 31
_GZIP_MAGIC = b"\x1f\x8b"
_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEAD = 16
_LENGTH = struct.Struct(">i")
# Most of what is compressed fits into so many times its size at the first try.
_FIRST_TRY = 16
_SMALLEST = 64 * 1024


class DecompressionError(ValueError):
    """What is compressed is broken, or larger than the bound."""


def decompress(codec: int, data: memoryview, *, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes | bytearray:
    """The contents, by Kafka's number of the codec; raises `NotInflated`."""
    inflate = _CODECS.get(codec)
    if inflate is None:
        raise DecompressionError(f"is compressed by codec {codec}, which is not known")
    try:
        return inflate(data, max_bytes)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise DecompressionError(f"cannot be inflated, to {max_bytes} bytes at most") from error


def _gzip(data: memoryview, most: int) -> bytes | bytearray:
    out, rest = bytearray(), bytes(data)
    while True:
        stream = zlib.decompressobj(_GZIP_ONLY)
        out += stream.decompress(rest, most - len(out) + 1)
        if len(out) > most:
            raise DecompressionError(f"inflates to more than {most} bytes")
        if not stream.eof:
            raise DecompressionError("ends too soon")
        rest = stream.unused_data
        if not rest.startswith(_GZIP_MAGIC):
            return out


def _snappy(data: memoryview, most: int) -> bytes | bytearray:
    if data[: len(_XERIAL)] != _XERIAL:
        return _snappy_block(data, most)
    out, at = bytearray(), _XERIAL_HEAD
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length < 0:
            raise DecompressionError("has a block of less than nothing")
        out += _snappy_block(data[at : at + length], most - len(out))
        at += length
    return out


def _snappy_block(data: memoryview, most: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > most:
        raise DecompressionError("inflates to more than is taken")
    return bytes(cramjam.snappy.decompress_raw(data))


def _by(inflate_into: Callable[[memoryview, bytearray], int]) -> Callable[[memoryview, int], bytearray]:
    def inflate(data: memoryview, most: int) -> bytearray:
        room = max(len(data) * _FIRST_TRY, _SMALLEST)
        while True:
            room = min(room, most)
            out = bytearray(room)
            try:
                del out[inflate_into(data, out) :]
            except cramjam.DecompressionError:
                # It does not say whether there was no room, or what is compressed is broken.
                if room == most:
                    raise
                room *= _FIRST_TRY
            else:
                return out

    return inflate


_CODECS: Mapping[int, Callable[[memoryview, int], bytes | bytearray]] = {
    1: _gzip,
    2: _snappy,
    3: _by(cramjam.lz4.decompress_into),
    4: _by(cramjam.zstd.decompress_into),
}
