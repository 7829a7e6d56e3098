"""Ids that are derived from what they name, so that whoever makes them twice makes the same."""

from hashlib import sha1

_NAMESPACE = bytes.fromhex("6f0f2c1e4f0e5c579d5e5e0b7a3c8f11")
_VARIANTS = "89ab89ab89ab89ab"


def derive_id(*parts: str | int) -> str:
    """The id of what these parts name: a UUID of version 5."""
    # Python's own is five times slower, and an answer may need a thousand.
    name = "|".join(map(str, parts)).encode()
    text = sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[int(text[16], 16)]}{text[17:20]}-{text[20:32]}"
