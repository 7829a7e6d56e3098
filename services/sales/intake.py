"""What reading a request's records depends on, beside the records."""

from collections.abc import Set as AbstractSet
from datetime import tzinfo
from typing import NamedTuple


class ImportContext(NamedTuple):
    """The circumstances of a request: its path, its site, the time, the world's currencies."""

    user_id: str | None
    mode: str | None
    site: int
    channel: str | None
    zone: tzinfo
    now_us: int
    currencies: AbstractSet[str]
