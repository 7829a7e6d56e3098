"""Page tokens: each is good for one job, one filter and one direction."""

from typing import Any

from services.chassis.http.paging import PageTokenCodec, TokenScope, invalid_page_token
from services.status.domain.cursor import Lap, Position
from services.status.domain.facts import Key
from services.status.domain.listing import Listing, Place


class PageTokens:
    """Makes and reads page tokens. Reading raises a 400 on what was not made here for the same purpose."""

    def __init__(self, secret: str) -> None:
        self._places = PageTokenCodec(secret, salt="status.page")

    def of_lap(self, bound: TokenScope, rest: Lap) -> str:
        """A token that goes on with the rest."""
        return self._places.encode(bound, [rest.low, rest.high, rest.top])

    def lap(self, bound: TokenScope, token: str) -> Lap:
        """What a token goes on with."""
        low, high, top = (_position(part) for part in self._places.decode(bound, token, parts=3))
        if low is None:
            raise invalid_page_token()
        return Lap(low, high, top)

    def of_place(self, bound: TokenScope, place: Place) -> str:
        """A token that goes on after this job."""
        return self._places.encode(bound, place)

    def place(self, bound: TokenScope, token: str) -> Place:
        """The job after which a token goes on."""
        created_us, job_id = self._places.decode(bound, token, parts=2)
        return Place(created_us, job_id)


def for_events(key: Key, *, show_all: bool, descending: bool) -> TokenScope:
    """What a token for events is bound to."""
    return ["events", key.site, key.job_id, show_all, descending]


def for_records(key: Key, outcome: str) -> TokenScope:
    """What a token for records is bound to."""
    return ["records", key.site, key.job_id, outcome]


def for_jobs(listing: Listing) -> TokenScope:
    """What a token for the list of jobs is bound to."""
    state = None if listing.state is None else listing.state.value
    return ["jobs", listing.site, state, listing.type, listing.mode, listing.from_us, listing.to_us]


def _position(part: Any) -> Position | None:
    return None if part is None else Position(*part)
