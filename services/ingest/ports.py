"""What accepting needs from the world."""

from typing import Protocol

from services.chassis.ratelimit import Decision
from services.ingest.domain.accepted import Accepted


class Publisher(Protocol):
    """Puts accepted requests on record."""

    async def publish(self, accepted: Accepted) -> None:
        """Return when all in-sync replicas have the job and every accepted record; raise `Away` otherwise."""
        ...


class Gate(Protocol):
    """Counts records against a site's limit."""

    def take(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        """Spend `cost` records if the last second can pay them; a cost of 0 asks whether anything is left."""
        ...
