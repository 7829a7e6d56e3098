"""Page tokens: each is valid for one job, one filter and one direction."""

from typing import Any

from services.chassis.http.paging import PageTokenCodec, TokenScope, invalid_page_token
from services.jobs.events import JobKey
from services.status.domain.listing import JobListQuery, ListPosition
from services.status.domain.page_range import PageRange, Position


class PageTokens:
    """Encodes and decodes page tokens. Decoding raises a 400 for a token that is not valid in its scope."""

    def __init__(self, secret: str) -> None:
        self._codec = PageTokenCodec(secret, salt="status.page")

    def encode_range(self, scope: TokenScope, page_range: PageRange) -> str:
        """A token that continues with the range."""
        return self._codec.encode(scope, [page_range.start, page_range.end, page_range.next_start])

    def decode_range(self, scope: TokenScope, token: str) -> PageRange:
        """The range that a token continues with."""
        start, end, next_start = (_position(part) for part in self._codec.decode(scope, token, parts=3))
        if start is None:
            raise invalid_page_token()
        return PageRange(start, end, next_start)

    def encode_position(self, scope: TokenScope, position: ListPosition) -> str:
        """A token that continues after this job."""
        return self._codec.encode(scope, position)

    def decode_position(self, scope: TokenScope, token: str) -> ListPosition:
        """The position of the job after which a token continues."""
        created_us, job_id = self._codec.decode(scope, token, parts=2)
        return ListPosition(created_us, job_id)


def events_scope(key: JobKey, *, show_all: bool, descending: bool) -> TokenScope:
    """The scope of tokens for events."""
    return ["events", key.site, key.job_id, show_all, descending]


def records_scope(key: JobKey, outcome: str) -> TokenScope:
    """The scope of tokens for records."""
    return ["records", key.site, key.job_id, outcome]


def jobs_scope(query: JobListQuery) -> TokenScope:
    """The scope of tokens for the list of jobs."""
    state = None if query.state is None else query.state.value
    return ["jobs", query.site, state, query.type, query.mode, query.from_us, query.to_us]


def _position(part: Any) -> Position | None:
    return None if part is None else Position(*part)
