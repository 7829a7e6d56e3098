"""Parameters from a request's query and headers; an invalid one is a 400."""

import re
from datetime import UTC, tzinfo

from multidict import MultiMapping

from services.chassis.http.paging import PageTokenCodec, TokenScope, rows_from_query
from services.chassis.http.time_range import parse_day
from services.chassis.runtime.errors import Problem
from services.values.instants import parse_instant, start_of_day_us
from services.values.invalid import Invalid
from services.webhooks.domain.event import EventType

Query = MultiMapping[str]

DEFAULT_ROWS, MAX_ROWS = 100, 1_000
MAX_WAIT_S = 30
EVENT_TYPES = tuple(type_.value for type_ in EventType)
_WAIT = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)
_INSTANT = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}T")


class Cursors:
    """Encodes positions in a site's feed, and decodes them. Each is valid for its site only."""

    def __init__(self, secret: str) -> None:
        self._codec = PageTokenCodec(secret, salt="webhooks.feed")

    def encode(self, site: int, sequence: int) -> str:
        """A cursor behind this event."""
        return self._codec.encode(_scope(site), [sequence])

    def decode(self, site: int, cursor: str) -> int:
        """The sequence that the cursor stands behind; raises a 400 for another site's."""
        try:
            (sequence,) = self._codec.decode(_scope(site), cursor, parts=1)
        except Problem:
            raise Problem(
                400, "INVALID_CURSOR", "after is neither a cursor of this feed nor an instant or a day in ISO 8601"
            ) from None
        return int(sequence)


def _scope(site: int) -> TokenScope:
    return ["feed", site]


def parse_rows(query: Query) -> int:
    """The maximum number of events on a page."""
    return rows_from_query(query, default=DEFAULT_ROWS, maximum=MAX_ROWS)


def parse_types(query: Query) -> tuple[str, ...]:
    """The types of events to return, sorted; empty for all."""
    text = query.get("types")
    if text is None:
        return ()
    types = {part.strip() for part in text.split(",")}
    if not types <= set(EVENT_TYPES):
        raise Problem(400, "INVALID_TYPES", f"types is a comma-separated list of {', '.join(EVENT_TYPES)}")
    return () if len(types) == len(EVENT_TYPES) else tuple(sorted(types))


def parse_after_us(text: str, *, zone: tzinfo) -> int | None:
    """The instant, if the text looks like one, in UTC if it has no offset; the last one before a day in `zone`."""
    day = parse_day(text)
    if day is not None:
        return start_of_day_us(day, zone) - 1
    # A plus sign that was not percent-encoded is decoded to a space.
    text = text.replace(" ", "+")
    if not _INSTANT.match(text):
        return None
    instant = parse_instant(text, zone=UTC)
    if isinstance(instant, Invalid):
        raise Problem(
            400, "INVALID_CURSOR", "after is neither a cursor of this feed nor an instant or a day in ISO 8601"
        )
    return instant.us


def parse_wait(headers: MultiMapping[str]) -> float | None:
    """The seconds that the client prefers to wait (RFC 7240); None without a valid preference."""
    for preference in re.split("[,;]", ",".join(headers.getall("Prefer", ()))):
        match = _WAIT.fullmatch(preference)
        if match:
            return float(min(int(match[1]), MAX_WAIT_S))
    return None
