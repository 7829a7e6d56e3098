"""Events: what happened to one thing of a site. They hold ids, counts and links, and no personal data."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from hashlib import sha1
from typing import Any

import msgspec
from msgspec import Struct

from services.values.instants import format_utc

SPEC_VERSION = "1.0"
_NAMESPACE = bytes.fromhex("b0c1a7e29d3f5c64a1d8e4f7035b6c92")
_VARIANTS = "89ab89ab89ab89ab"
_encode = msgspec.json.Encoder().encode


class EventType(StrEnum):
    """What can happen."""

    JOB_FINISHED = "job.finished"
    CODES_AVAILABLE = "codes.available"
    ORDER_COMPLETED = "order.completed"
    INVOICE_ISSUED = "invoice.issued"
    ENDPOINT_DISABLED = "endpoint.disabled"
    ENDPOINT_RECOVERED = "endpoint.recovered"


# Sent to a new endpoint only; never in the feed.
PING = "endpoint.ping"


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event that has no place in its site's feed yet. The same happening always has the same id."""

    id: str
    site: int
    type: str
    time_us: int
    data: Mapping[str, Any]


class FeedEvent(Struct, frozen=True, gc=False):
    """An event of a site's feed: `sequence` counts from 1 without holes; `json` is the whole event."""

    sequence: int
    id: str
    type: str
    json: str
    recorded_us: int = 0


class Head(Struct, frozen=True, gc=False):
    """The last event of a site's feed: its sequence, and when it was recorded. An empty feed's is `Head(0, 0)`."""

    sequence: int
    recorded_us: int


EMPTY = Head(0, 0)


class FeedQuery(Struct, frozen=True, kw_only=True):
    """At most `rows` events of a site after a sequence; of some types only, if there are any."""

    site: int
    after: int
    rows: int
    types: Sequence[str] = ()


def render_event(event: NewEvent, sequence: int) -> str:
    """Render the event as JSON, with CloudEvents' names; feed and endpoints get the same text."""
    return _encode(
        {
            "specversion": SPEC_VERSION,
            "id": event.id,
            "source": f"urn:tillstream:site:{event.site}",
            "type": event.type,
            "time": format_utc(event.time_us, digits=6),
            "sequence": sequence,
            "data": event.data,
        }
    ).decode()


def place_event(event: NewEvent, sequence: int, recorded_us: int) -> FeedEvent:
    """Give the event its place in the feed."""
    return FeedEvent(sequence, event.id, event.type, render_event(event, sequence), recorded_us)


def derive_id(*parts: str | int) -> str:
    """Return the UUID, version 5, of a name made of these parts."""
    text = sha1(_NAMESPACE + "|".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{_VARIANTS[int(text[16], 16)]}{text[17:20]}-{text[20:32]}"
