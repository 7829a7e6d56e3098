"""A consumer and an admin client of the simulated Kafka cluster with aiokafka's interfaces."""

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaConnectionError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)

from tests.simulation.broker import Cluster
from tests.simulation.kafka_producer import SERVER, round_trip
from tests.simulation.network import ANSWER, REQUEST, LostError, Network

RETRY_S = 0.1
# An idle poll may wait longer than it was asked to: that saves turns and is what a busy process does.
MAX_IDLE_FACTOR = 12


class SimulatedConsumer:
    """Reads assigned partitions, or those that its group assigns to it."""

    cluster: Cluster
    network: Network
    rng: random.Random

    def __init__(self, *topics: str, **options: Any) -> None:
        self._group_name: str | None = options.get("group_id")
        self._resets = options.get("auto_offset_reset", "latest")
        self._commits_itself = bool(options.get("enable_auto_commit", True)) and self._group_name is not None
        self._client_id = options.get("client_id", "consumer")
        self._session_s = options.get("session_timeout_ms", 10_000) / 1000
        self._heartbeat_s = options.get("heartbeat_interval_ms", 3_000) / 1000
        self._topics: tuple[str, ...] = topics
        self._listener: Any = None
        self._positions: dict[TopicPartition, int | None] = {}
        self._paused: set[TopicPartition] = set()
        self._epoch = 0
        self._assigned = asyncio.Event()
        self._data = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._member = ""
        self._generation = -1
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=self))
        self._client = SimpleNamespace(_wait_on_metadata=self._wait_on_metadata, close=self._close)
        self._coordinator = self._fetcher = None

    async def start(self) -> None:
        await round_trip(self.network)
        self.cluster.watch(self._data)

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self.cluster.unwatch(self._data)
        if self._group_name and self._member:
            await round_trip(self.network)
            self.cluster.group(self._group_name).leave(self._member)
            self._member = ""

    async def _close(self) -> None:
        self.cluster.unwatch(self._data)

    def subscribe(self, topics: Sequence[str], *, listener: Any = None) -> None:
        self._topics, self._listener = tuple(topics), listener
        self._tasks.append(asyncio.create_task(self._coordinate()))

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        self._positions = dict.fromkeys(partitions)
        self._assigned.set()

    async def _coordinate(self) -> None:
        """Join the group, send heartbeats, and join again whenever the group rebalances."""
        assert self._group_name is not None
        group = self.cluster.group(self._group_name)
        while True:
            try:
                await self._join(group)
                while True:
                    await asyncio.sleep(self._heartbeat_s)
                    if self._commits_itself:
                        await self.commit()
                    await round_trip(self.network)
                    if group.heartbeat(self._member):
                        break
            except KafkaError:
                await asyncio.sleep(RETRY_S)

    async def _join(self, group: Any) -> None:
        # First, as in aiokafka: a member that gives up its partitions reads nothing.
        self._assigned.clear()
        self._epoch += 1
        # Also without partitions, as aiokafka does before the first assignment.
        if self._listener is not None:
            await self._listener.on_partitions_revoked(set(self._positions))
        if self._member not in group.members:
            self._member = self.cluster.new_member_name(self._client_id)
        await round_trip(self.network)
        joined = group.join(self._member, self._topics, self._session_s)
        while not joined.done():
            await asyncio.wait([joined], timeout=0.5)
            group.advance()
        member = group.members.get(self._member)
        if member is None:
            raise KafkaConnectionError("not a member any more")
        self._generation = member.generation
        await round_trip(self.network)
        self._positions = {where: group.committed.get(where) for where in sorted(member.assignment)}
        self._paused.clear()
        if self._resets == "earliest":
            self._reset_to_earliest()
        if self._listener is not None:
            await self._listener.on_partitions_assigned(set(self._positions))
        self._assigned.set()

    def _reset_to_earliest(self) -> None:
        for where, position in self._positions.items():
            if position is None:
                self._positions[where] = self.cluster.partition(where).begin

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._positions)

    def state_value(self, where: TopicPartition) -> Any:
        if where not in self._positions:
            return None
        position = self._positions[where]
        return SimpleNamespace(position=position, has_valid_position=position is not None)

    async def getmany(
        self, *, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_ms / 1000 * self.rng.uniform(1, MAX_IDLE_FACTOR)
        while True:
            await self._assigned.wait()
            self._data.clear()
            if self._has_records():
                found = await self._fetch(max_records or 1_000_000)
                if found:
                    return found
            left = deadline - loop.time()
            if left <= 0:
                return {}
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._data.wait()

    def _has_records(self) -> bool:
        """Whether a fetch would return something, or raise."""
        for where, position in self._positions.items():
            if where in self._paused:
                continue
            if position is None:
                if self._resets == "none":
                    raise NoOffsetForPartitionError(where)
                self._reset_to_earliest()
                return True
            if position != self.cluster.partition(where).committed:
                return True
        return False

    async def _fetch(self, limit: int) -> dict[TopicPartition, list[ConsumerRecord]]:
        epoch = self._epoch
        try:
            await round_trip(self.network)
        except KafkaConnectionError:
            await asyncio.sleep(RETRY_S)
            return {}
        if epoch != self._epoch:
            return {}
        found: dict[TopicPartition, list[ConsumerRecord]] = {}
        # A broker may answer with a part of what there is.
        limit = min(limit, self.rng.choice((1, 3, 10, limit)))
        for where, position in self._positions.items():
            partition = self.cluster.partition(where)
            if where in self._paused or position is None or limit <= 0:
                continue
            if not partition.begin <= position <= partition.committed:
                if self._resets == "earliest":
                    self._positions[where] = partition.begin
                    continue
                raise OffsetOutOfRangeError({where: position})
            records = list(partition.read(position, limit))
            if records:
                found[where] = records
                limit -= len(records)
                self._positions[where] = records[-1].offset + 1
        return found

    def pause(self, *partitions: TopicPartition) -> None:
        self._paused.update(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self._paused.difference_update(partitions)

    def paused(self) -> frozenset[TopicPartition]:
        return frozenset(self._paused)

    def seek(self, where: TopicPartition, offset: int) -> None:
        if where not in self._positions:
            raise IllegalStateError(f"{where} is not assigned")
        self._positions[where] = offset

    async def position(self, where: TopicPartition) -> int:
        return self._positions[where] or 0

    async def commit(self, offsets: Mapping[TopicPartition, int] | None = None) -> None:
        if offsets is None:
            offsets = {where: position for where, position in self._positions.items() if position is not None}
        assert self._group_name is not None
        group = self.cluster.group(self._group_name)
        while True:
            try:
                await self.network.travel(SERVER, REQUEST)
                accepted = group.commit(self._member, self._generation, offsets)
                if accepted:
                    self.cluster.on_commit(group.name, offsets)
                await self.network.travel(SERVER, ANSWER)
            except LostError:
                # As aiokafka does for as long as the coordinator is not available.
                await asyncio.sleep(RETRY_S)
                continue
            if not accepted:
                raise CommitFailedError
            return

    async def committed(self, where: TopicPartition) -> int | None:
        assert self._group_name is not None
        await round_trip(self.network)
        return self.cluster.group(self._group_name).committed.get(where)

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await round_trip(self.network)
        return {where: self.cluster.partition(where).begin for where in partitions}

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        await round_trip(self.network)
        return {where: self.cluster.partition(where).committed for where in partitions}

    async def offsets_for_times(self, times: Mapping[TopicPartition, int]) -> dict[TopicPartition, Any]:
        await round_trip(self.network)
        found = {}
        for where, time_ms in times.items():
            partition = self.cluster.partition(where)
            later = (one for one in partition.read(partition.begin, 1_000_000) if one.timestamp >= time_ms)
            first = next(later, None)
            found[where] = first and SimpleNamespace(offset=first.offset, timestamp=first.timestamp)
        return found

    def highwater(self, where: TopicPartition) -> int:
        return self.cluster.partition(where).committed

    last_stable_offset = highwater

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(self.cluster.partitions_of(topic)) or None

    async def _wait_on_metadata(self, topic: str) -> set[int]:
        await round_trip(self.network)
        found = set(self.cluster.partitions_of(topic))
        if not found:
            raise UnknownTopicOrPartitionError
        return found


class SimulatedAdmin:
    """Describes topics and groups."""

    cluster: Cluster
    network: Network

    def __init__(self, **_options: Any) -> None:
        pass

    async def start(self) -> None:
        await round_trip(self.network)

    async def close(self) -> None:
        """Do nothing: there are no connections."""

    async def describe_topics(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        await round_trip(self.network)
        return [
            {
                "topic": topic,
                "error_code": 0,
                "partitions": [{"partition": number} for number in self.cluster.partitions_of(topic)],
            }
            for topic in topics
        ]

    async def list_consumer_group_offsets(self, group: str) -> dict[TopicPartition, Any]:
        await round_trip(self.network)
        return {where: SimpleNamespace(offset=offset) for where, offset in self.cluster.group(group).committed.items()}
