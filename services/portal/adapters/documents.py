"""The portal's values as MongoDB documents."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

Document = dict[str, Any]
T = TypeVar("T", bound=Struct)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)
# Documents expire at the time that they hold.
EXPIRES = "expires"


def to_document(value: Struct) -> Document:
    """Return the fields of the value by their names, with `id` as `_id`."""
    document: Document = msgspec.to_builtins(value, builtin_types=(bytes,))
    if "id" in document:
        document = {"_id": document.pop("id"), **document}
    return document


def from_document(document: Mapping[str, Any], cls: type[T]) -> T:
    """Return the value whose fields the document has, among others."""
    fields = {"id": document["_id"], **document}
    return msgspec.convert(fields, cls, strict=False, builtin_types=(bytes,))


def date_of(at_us: int) -> datetime:
    """Return the time as MongoDB's date, by which documents expire."""
    return _EPOCH + at_us * _ONE
