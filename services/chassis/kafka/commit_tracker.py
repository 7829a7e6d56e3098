"""Which offsets may be committed, and which records are still being processed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError

from services.chassis.runtime.logs import logger

COMMIT_TIMEOUT_S = 3.0
COMMIT_INTERVAL_S = 1.0
_LOG = logger(__name__)


class CommitTracker:
    """Collects the offsets that a handler returns, and commits them."""

    def __init__(self, group: str, clock: Callable[[], float]) -> None:
        self._group = group
        self._clock = clock
        self._committable: dict[TopicPartition, int] = {}
        self._last_commit_at = clock()
        # Records of the last poll that the handler has begun and not finished.
        self.in_progress: Mapping[TopicPartition, Sequence[ConsumerRecord]] = {}

    @property
    def is_due(self) -> bool:
        """Whether the last commit is a second old."""
        return self._clock() - self._last_commit_at >= COMMIT_INTERVAL_S

    def add(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Let these next offsets be committed."""
        self._committable.update(offsets)

    def handled(
        self, poll: Mapping[TopicPartition, Sequence[ConsumerRecord]], offsets: Mapping[TopicPartition, int]
    ) -> None:
        """Let the offsets of a handled poll be committed; its other records are in progress."""
        self.add(offsets)
        self.in_progress = {
            partition: [record for record in records if record.offset >= offsets.get(partition, 0)]
            for partition, records in poll.items()
        }

    def with_in_progress(
        self, poll: Mapping[TopicPartition, Sequence[ConsumerRecord]]
    ) -> Mapping[TopicPartition, Sequence[ConsumerRecord]]:
        """Return the records in progress, followed by those of the poll."""
        before = self.in_progress
        return {
            partition: [*before.get(partition, ()), *poll.get(partition, ())]
            for partition in before.keys() | poll.keys()
        }

    def rewind(self, partition: TopicPartition, default: int | None) -> int | None:
        """Forget the partition's records in progress; return its committable offset, or else `default`."""
        offset = self._committable.get(partition, default)
        if offset is not None:
            self.in_progress = {other: records for other, records in self.in_progress.items() if other != partition}
        return offset

    def clear(self) -> None:
        """Forget everything, as when the partitions are revoked."""
        self._committable.clear()
        self.in_progress = {}

    async def commit(self, kafka: AIOKafkaConsumer) -> None:
        """Commit the offsets of assigned partitions; keep them for the next time if Kafka does not answer."""
        self._last_commit_at = self._clock()
        assigned = kafka.assignment()
        offsets = {partition: offset for partition, offset in self._committable.items() if partition in assigned}
        self._committable.clear()
        if not offsets:
            return
        try:
            # Without a timeout aiokafka retries for as long as the coordinator is unavailable.
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await kafka.commit(offsets)
        except CommitFailedError:
            # Another member owns the partitions now and processes the same records again, which is harmless.
            _LOG.info("offset commit rejected", group=self._group)
        except (KafkaError, TimeoutError) as error:
            self._committable = offsets
            _LOG.warning("offset commit failed, will retry", group=self._group, error=type(error).__name__)
