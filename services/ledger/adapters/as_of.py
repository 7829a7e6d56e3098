"""Up to which instant everything is recorded, from the offsets of the consumer groups."""

from collections.abc import Callable, Sequence

from services.chassis.kafka.group_progress import Brokers, Offsets, query_brokers
from services.chassis.runtime.settings import KafkaSettings
from services.ledger import metrics


class AsOf:
    """Follows the records of an instant: through the validator's topics, then through ours.

    Whatever was acknowledged before `us` is in the sums and entries that are read after `us` was.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        upstream: tuple[str, Sequence[str]],
        own: tuple[str, Sequence[str]],
        client_id: str,
        now_us: Callable[[], int],
    ) -> None:
        """`upstream` is the validator's group and topics, `own` are the ledger's."""
        self._settings = settings
        self._upstream_group, self._upstream_topics = upstream
        self._own_group, self._own_topics = own
        self._client_id = client_id
        self._now_us = now_us
        self.us: int | None = None
        self._next_us = 0
        self._upstream_ends: Offsets | None = None
        self._own_ends: Offsets | None = None

    async def refresh(self) -> None:
        """Go one or more steps further, without waiting for the groups; raises `UnavailableError`."""
        async with query_brokers(self._settings, client_id=self._client_id) as brokers:
            await self._advance(brokers)
        if self.us is not None:
            metrics.AS_OF_AGE.set(max(self._now_us() - self.us, 0) / 1_000_000)

    async def _advance(self, brokers: Brokers) -> None:
        if self._upstream_ends is None:
            self._next_us = self._now_us()
            self._upstream_ends = await _ends(brokers, self._upstream_topics)
        if self._own_ends is None:
            if not await brokers.has_consumed(self._upstream_group, self._upstream_ends):
                return
            self._own_ends = await _ends(brokers, self._own_topics)
        if await brokers.has_consumed(self._own_group, self._own_ends):
            self.us = self._next_us
            self._upstream_ends = self._own_ends = None


async def _ends(brokers: Brokers, topics: Sequence[str]) -> Offsets:
    ends: Offsets = await brokers.consumer.end_offsets(await brokers.partitions(topics))
    return ends
