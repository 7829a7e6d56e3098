"""Live events: hints that something on a page has changed."""

from msgspec import Struct


class LiveEvent(Struct, frozen=True):
    """An event of the site's feed; `cursor` is what a browser names when it comes back, empty within a page."""

    cursor: str
    sequence: int
    type: str
    data: bytes


# The stream ends; the browser comes back.
ENDED = LiveEvent("", -1, "ended", b"{}")
# The session was written: it may have ended.
SESSION_CHANGED = LiveEvent("", -1, "session-changed", b"{}")


def to_frame(event: LiveEvent) -> bytes:
    """Return the event as `text/event-stream` has it."""
    name = f"id: {event.cursor}\n" if event.cursor else ""
    return f"{name}event: {event.type}\ndata: ".encode() + event.data + b"\n\n"
