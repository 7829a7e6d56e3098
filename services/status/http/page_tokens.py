"""Page tokens: each is good for one job, one filter and one direction."""

from typing import Any

from services.chassis.http.paging import PageTokenCodec, TokenScope, invalid_page_token
from services.jobs.events import JobKey
from services.status.domain.listing import JobListQuery, ListPosition
from services.status.domain.page_range import PageRange, Position


class PageTokens:
    """Makes and reads page tokens. Reading raises a 400 on what was not made here for the same purpose."""

    def __init__(self, secret: str) -> None:
        self._codec = PageTokenCodec(secret, salt="status.page")

    def encode_range(self, bound: TokenScope, rest: PageRange) -> str:
        """A token that goes on with the rest."""
        return self._codec.encode(bound, [rest.start, rest.end, rest.next_start])

    def decode_range(self, bound: TokenScope, token: str) -> PageRange:
        """What a token goes on with."""
        low, high, top = (_position(part) for part in self._codec.decode(bound, token, parts=3))
        if low is None:
            raise invalid_page_token()
        return PageRange(low, high, top)

    def encode_position(self, bound: TokenScope, place: ListPosition) -> str:
        """A token that goes on after this job."""
        return self._codec.encode(bound, place)

    def decode_position(self, bound: TokenScope, token: str) -> ListPosition:
        """The job after which a token goes on."""
        created_us, job_id = self._codec.decode(bound, token, parts=2)
        return ListPosition(created_us, job_id)


def events_scope(key: JobKey, *, show_all: bool, descending: bool) -> TokenScope:
    """What a token for events is bound to."""
    return ["events", key.site, key.job_id, show_all, descending]


def records_scope(key: JobKey, outcome: str) -> TokenScope:
    """What a token for records is bound to."""
    return ["records", key.site, key.job_id, outcome]


def jobs_scope(listing: JobListQuery) -> TokenScope:
    """What a token for the list of jobs is bound to."""
    state = None if listing.state is None else listing.state.value
    return ["jobs", listing.site, state, listing.type, listing.mode, listing.from_us, listing.to_us]


def _position(part: Any) -> Position | None:
    return None if part is None else Position(*part)
