"""Which event an endpoint gets next."""

from services.webhooks.domain.delivery import Outcome
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.flows.push import Deps, Work
from services.webhooks.flows.sources import DueRetries, NewEvents, ReplayedEvents


class DeliveryQueue:
    """The events of one endpoint: retries that are due, then a replay's, then new ones.

    An event is active from when it is taken until what came of it is recorded; it is not taken again meanwhile. Of an
    ordered endpoint, retries hold back everything else even if they are not due yet, and a replay new events.
    """

    def __init__(self, endpoint: Endpoint, deps: Deps) -> None:
        self.endpoint = endpoint
        self.new = NewEvents(endpoint, deps)
        self.retries = DueRetries(deps)
        self.replayed = ReplayedEvents(deps)
        self._active: set[int] = set()

    @property
    def active(self) -> int:
        """How many events were taken and are not recorded."""
        return len(self._active)

    async def take(self) -> Work | None:
        """Take the next event; None if there is nothing to send now. Raises `UnavailableError`."""
        while (work := await self._choose()) is not None:
            if work.event.sequence not in self._active:
                self._active.add(work.event.sequence)
                return work
            # On its way as part of something else.
            self._release(work, None)
        return None

    def close(self, work: Work, outcome: Outcome, *, due_us: int | None) -> None:
        """What came of an active event is recorded; its next try is due at that time, if there is one."""
        self._active.discard(work.event.sequence)
        if due_us is not None:
            self.retries.schedule(due_us)
        self._release(work, outcome)

    def _release(self, work: Work, outcome: Outcome | None) -> None:
        if work.is_fresh:
            self.new.close(work.event.sequence)
        self.replayed.close(work, outcome)

    async def _choose(self) -> Work | None:
        endpoint = self.endpoint
        retry = await self.retries.next(endpoint, self._active)
        if retry is not None or (endpoint.is_ordered and self.retries.due_us is not None):
            return retry
        repeated = await self.replayed.next(endpoint)
        if repeated is not None or (endpoint.is_ordered and self.replayed.reader is not None):
            return repeated
        return await self.new.next(endpoint)
