"""How far status and the validator have consumed, from the committed offsets of their consumer groups."""

from collections.abc import Sequence

from services.chassis.kafka.group_progress import Offsets, query_brokers
from services.chassis.runtime.settings import KafkaSettings
from services.status.ports import ConsumerProgress


class KafkaConsumerProgress(ConsumerProgress):
    """Queries the brokers; queries are rare, so each opens its own connections.

    The offsets are those of the groups, not of this process, so what other members have yet to consume counts, too.
    `own` is status' group and topic, `upstream` the validator's group and topics.
    """

    def __init__(
        self, settings: KafkaSettings, *, own: tuple[str, str], upstream: tuple[str, Sequence[str]], client_id: str
    ) -> None:
        self._settings = settings
        self._own_group, self._own_topic = own
        self._upstream_group, self._upstream_topics = upstream
        self._client_id = client_id
        self._end_offsets: Offsets | None = None

    async def snapshot_end_offsets(self) -> None:
        async with query_brokers(self._settings, client_id=self._client_id) as brokers:
            partitions = await brokers.partitions([self._own_topic])
            self._end_offsets = await brokers.consumer.end_offsets(partitions)

    async def is_caught_up(self, *, up_to_us: int) -> bool:
        if self._end_offsets is None:
            return False
        async with query_brokers(self._settings, client_id=self._client_id) as brokers:
            if not await brokers.has_consumed(self._own_group, self._end_offsets):
                return False
            partitions = await brokers.partitions(self._upstream_topics)
            ends = await brokers.end_offsets_before(partitions, up_to_us // 1000)
            return await brokers.has_consumed(self._upstream_group, ends)
