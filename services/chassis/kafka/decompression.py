"""Decompresses record batches, up to a bound.

Brokers check only the compressed size: 30 KB can decompress to a gigabyte. Like Java, they ignore trailing bytes after
gzip data.
"""

import struct
import zlib
from collections.abc import Callable, Mapping

import cramjam

# Clients rarely compress more than a batch of 8 MiB.
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024

_GZIP_ONLY = 31
_GZIP_MAGIC = b"\x1f\x8b"
_XERIAL = b"\x82SNAPPY\0"
_XERIAL_HEAD = 16
_LENGTH = struct.Struct(">i")
# Most data decompresses to less than this multiple of its size: the first attempt.
_GROWTH = 16
_MIN_BUFFER_BYTES = 64 * 1024


class DecompressionError(ValueError):
    """Compressed data is corrupt, or decompresses to more than the bound."""


def decompress(codec: int, data: memoryview, *, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> bytes | bytearray:
    """Return the decompressed data; `codec` is Kafka's number. Raises `DecompressionError`."""
    decompress_codec = _CODECS.get(codec)
    if decompress_codec is None:
        raise DecompressionError(f"unknown compression codec {codec}")
    try:
        return decompress_codec(data, max_bytes)
    except (cramjam.DecompressionError, zlib.error, struct.error) as error:
        raise DecompressionError(f"cannot be decompressed to at most {max_bytes} bytes") from error


def _gzip(data: memoryview, max_bytes: int) -> bytes | bytearray:
    out, rest = bytearray(), bytes(data)
    while True:
        stream = zlib.decompressobj(_GZIP_ONLY)
        out += stream.decompress(rest, max_bytes - len(out) + 1)
        if len(out) > max_bytes:
            raise DecompressionError(f"decompresses to more than {max_bytes} bytes")
        if not stream.eof:
            raise DecompressionError("truncated gzip data")
        rest = stream.unused_data
        if not rest.startswith(_GZIP_MAGIC):
            return out


def _snappy(data: memoryview, max_bytes: int) -> bytes | bytearray:
    if data[: len(_XERIAL)] != _XERIAL:
        return _snappy_block(data, max_bytes)
    out, at = bytearray(), _XERIAL_HEAD
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length < 0:
            raise DecompressionError("negative length of a snappy block")
        out += _snappy_block(data[at : at + length], max_bytes - len(out))
        at += length
    return out


def _snappy_block(data: memoryview, max_bytes: int) -> bytes:
    if cramjam.snappy.decompress_raw_len(data) > max_bytes:
        raise DecompressionError("decompresses to more than the bound")
    return bytes(cramjam.snappy.decompress_raw(data))


def _by(decompress_into: Callable[[memoryview, bytearray], int]) -> Callable[[memoryview, int], bytearray]:
    def decompress_bounded(data: memoryview, max_bytes: int) -> bytearray:
        size = max(len(data) * _GROWTH, _MIN_BUFFER_BYTES)
        while True:
            size = min(size, max_bytes)
            out = bytearray(size)
            try:
                del out[decompress_into(data, out) :]
            except cramjam.DecompressionError:
                # The error does not distinguish a small buffer from corrupt data.
                if size == max_bytes:
                    raise
                size *= _GROWTH
            else:
                return out

    return decompress_bounded


_CODECS: Mapping[int, Callable[[memoryview, int], bytes | bytearray]] = {
    1: _gzip,
    2: _snappy,
    3: _by(cramjam.lz4.decompress_into),
    4: _by(cramjam.zstd.decompress_into),
}
