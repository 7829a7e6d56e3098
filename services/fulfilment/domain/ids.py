"""Ids: UUIDs, most of them derived from the name of a thing. Deriving one twice gives the same id."""

from hashlib import sha1

_NAMESPACE = bytes.fromhex("6f0f2c1e4f0e5c579d5e5e0b7a3c8f11")
_VARIANTS = "89ab89ab89ab89ab"


def parse_id(text: str) -> str:
    """Return an id as it is stored: a client may send a UUID in any case."""
    return text.lower()


def derive_id(*parts: str | int) -> str:
    """Return the UUID, version 5, of a name made of these parts."""
    # `uuid.uuid5` is five times slower, and one response may need a thousand ids.
    name = "|".join(map(str, parts)).encode()
    text = sha1(_NAMESPACE + name, usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[int(text[16], 16)]}{text[17:20]}-{text[20:32]}"
