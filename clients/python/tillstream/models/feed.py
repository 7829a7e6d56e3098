"""The feed of events and its endpoints."""

from datetime import datetime
from typing import Any

from tillstream.models.base import Model
from tillstream.models.wire import Pagination


class FeedEvent(Model, frozen=True):
    """An event of the site's feed; `sequence` numbers them without holes."""

    id: str
    type: str
    source: str
    time: datetime
    sequence: int
    data: dict[str, Any]


class FeedPagination(Pagination, frozen=True):
    """Where a page of the feed ends: the cursor is never None."""

    next_page_token: str


class FeedPage(Model, frozen=True):
    """A page of the feed."""

    pagination: FeedPagination
    result: list[FeedEvent]


class Endpoint(Model, frozen=True):
    """Where events are sent to. The secret is shown once, and is not in the `repr`."""

    id: str
    url: str
    types: list[str]
    description: str
    ordered: bool
    enabled: bool
    created_at: datetime
    failing_since: datetime | None = None
    disabled_reason: str | None = None
    missed_since: datetime | None = None
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, url={self.url!r}, enabled={self.enabled})"


class Delivery(Model, frozen=True):
    """An event that was, or is to be, sent to an endpoint, with each attempt."""

    event_id: str
    sequence: int
    type: str
    state: str
    attempts: list[dict[str, Any]]
    next_try_at: datetime | None
