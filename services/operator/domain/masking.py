"""Masks what names a person in a decoded record."""

from typing import Any

import msgspec

from services.values.pii import REMOVED, is_personal_data

# Fields of the schemas that name a person or hold a hash of what does. `rows` lists users by their position.
PERSONAL_FIELDS = frozenset({"userId", "emailHash", "ccHash", "rows"})
_CONTAINERS = (dict, list)


def mask(value: Any, name: str = "") -> Any:
    """Return the value with personal fields masked, at any depth, also in texts that are JSON."""
    if name in PERSONAL_FIELDS:
        return value if value is None else REMOVED
    match value:
        case dict():
            return {key: mask(child, key) for key, child in value.items()}
        # A branch of a union: its name, and the value.
        case list() | tuple():
            return [mask(child) for child in value]
        case str():
            return _mask_text(value)
    return value


def _mask_text(text: str) -> str:
    if text[:1] in ("{", "["):
        try:
            content = msgspec.json.decode(text)
        except msgspec.DecodeError:
            return REMOVED if is_personal_data(text) else text
        if isinstance(content, _CONTAINERS):
            return msgspec.json.encode(mask(content)).decode()
    return REMOVED if is_personal_data(text) else text
