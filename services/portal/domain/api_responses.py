"""Responses of APIs, as pages show them."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

MAX_SHOWN_CHARACTERS = 24_000


class ApiResponse(Struct, frozen=True, kw_only=True):
    """What an API answered. `body` may be only the beginning of what came."""

    status: int
    reason: str
    headers: Sequence[tuple[str, str]]
    media_type: str
    body: bytes
    is_whole: bool
    duration_ms: float

    @property
    def tone(self) -> str:
        """The tone of its status."""
        return "good" if self.status < 300 else "info" if self.status < 400 else "bad"


class ShownBody(Struct, frozen=True, kw_only=True):
    """A body as text, and what to know about it."""

    text: str
    note: str = ""


def show_body(response: ApiResponse) -> ShownBody:
    """Return the body as text: JSON indented, long text cut, anything else only described."""
    if not response.body:
        return ShownBody(text="", note="The response has no body.")
    try:
        text = response.body.decode("utf-8", "strict" if response.is_whole else "ignore")
    except UnicodeDecodeError:
        return ShownBody(text="", note=f"{len(response.body):,} bytes of {response.media_type or 'an unknown type'}.")
    if response.is_whole and response.media_type.endswith("json"):
        text = _indent(text)
    if response.is_whole and len(text) <= MAX_SHOWN_CHARACTERS:
        return ShownBody(text=text)
    return ShownBody(text=text[:MAX_SHOWN_CHARACTERS], note="Only the beginning is shown.")


def _indent(text: str) -> str:
    try:
        # Numbers stay as they came.
        return msgspec.json.format(text, indent=2)
    except (msgspec.MsgspecError, RecursionError):
        return text
