"""Endpoints, deliveries and replays as MongoDB documents."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from services.webhooks.domain.delivery import Delivery
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.domain.replay import Replay

Document = dict[str, Any]
T = TypeVar("T", Endpoint, Delivery, Replay)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ONE = timedelta(microseconds=1)


def to_document(value: Endpoint | Delivery | Replay) -> Document:
    """The fields of the value by their names."""
    document: Document = msgspec.to_builtins(value, builtin_types=(bytes,))
    return document


def from_document(document: Mapping[str, Any], cls: type[T]) -> T:
    """The value whose fields the document has, among others."""
    return msgspec.convert(document, cls, strict=False, builtin_types=(bytes,))


def date_of(at_us: int) -> datetime:
    """The time as MongoDB's date, by which documents expire."""
    return _EPOCH + at_us * _ONE
