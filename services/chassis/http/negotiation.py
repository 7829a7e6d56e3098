"""Content negotiation: the media type of a response, from the request's `Accept` header fields (RFC 9110, 12.5.1)."""

from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

_ALL = "*/*"


class _Match(NamedTuple):
    quality: float
    # A named type is preferred to one that only a wildcard matches.
    precision: int
    # Of equal ones, the first is preferred.
    position: int


def negotiate(request: web.Request, offered: Sequence[str]) -> str | None:
    """Return the offered media type that the client prefers, None if it accepts none.

    The highest quality wins, then the more specific range, then the one that is named first. Without preference it is
    the first one offered.
    """
    header = ",".join(request.headers.getall("Accept", ()))
    ranges = [_parse_range(part) for part in header.split(",") if part.strip()] or [(_ALL, 1.0)]
    matches = {media_type: _match(media_type, ranges) for media_type in offered}
    best = max(offered, key=lambda media_type: matches[media_type])
    return best if matches[best].quality > 0 else None


def _match(media_type: str, ranges: Sequence[tuple[str, float]]) -> _Match:
    """Return the most precise range that matches the media type: it decides, whatever the quality of others."""
    names = (media_type, f"{media_type.partition('/')[0]}/*", _ALL)
    for precision, name in enumerate(names):
        found = [(quality, -position) for position, (other, quality) in enumerate(ranges) if other == name]
        if found:
            quality, position = max(found)
            return _Match(quality, -precision, position if precision == 0 else 0)
    return _Match(0.0, -len(names), 0)


def _parse_range(part: str) -> tuple[str, float]:
    """Return media type and quality; a range with an invalid quality is not acceptable."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return name, 0.0
            return name, quality if 0 <= quality <= 1 else 0.0
    return name, 1.0
