"""Consumer groups of the simulated Kafka cluster: members, generations, range assignment, committed offsets."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

MAX_REBALANCE_S = 10.0


@dataclass
class Member:
    """A member of a group."""

    name: str
    topics: tuple[str, ...]
    session_s: float
    heard_at: float
    generation: int = 0
    assignment: frozenset[TopicPartition] = frozenset()
    joining: "asyncio.Future[None] | None" = None


@dataclass
class Group:
    """A group. Every change of its members is a rebalance in which all members give up their partitions."""

    name: str
    partitions_of: Callable[[str], Iterable[int]]
    members: dict[str, Member] = field(default_factory=dict)
    committed: dict[TopicPartition, int] = field(default_factory=dict)
    generation: int = 0
    # Set while members are awaited.
    rebalance_ends_at: float | None = None

    def join(self, name: str, topics: tuple[str, ...], session_s: float) -> "asyncio.Future[None]":
        """Join, again in each generation; the future is done when all members have."""
        now = asyncio.get_running_loop().time()
        member = self.members.get(name)
        if member is None:
            member = self.members[name] = Member(name, topics, session_s, now)
            self._begin_rebalance()
        elif self.rebalance_ends_at is None:
            self._begin_rebalance()
        member.heard_at = now
        member.joining = asyncio.get_running_loop().create_future()
        joined = member.joining
        self.advance()
        return joined

    def leave(self, name: str) -> None:
        """Leave; the others rebalance."""
        if self.members.pop(name, None) is not None:
            self._begin_rebalance()
            self.advance()

    def heartbeat(self, name: str) -> bool:
        """Note that the member lives; return whether it must join again."""
        self.advance()
        member = self.members.get(name)
        if member is None:
            return True
        member.heard_at = asyncio.get_running_loop().time()
        return self.rebalance_ends_at is not None

    def rebalance(self) -> None:
        """Let all members join again."""
        if self.members:
            self._begin_rebalance()

    def commit(self, name: str, generation: int, offsets: Mapping[TopicPartition, int]) -> bool:
        """Store offsets; False if the member is not one of this generation."""
        self.advance()
        member = self.members.get(name)
        if member is None or generation != self.generation:
            return False
        self.committed.update(offsets)
        return True

    def _begin_rebalance(self) -> None:
        if self.rebalance_ends_at is None:
            self.rebalance_ends_at = asyncio.get_running_loop().time() + MAX_REBALANCE_S

    def advance(self) -> None:
        """Remove members that are silent, and end a rebalance that all have joined."""
        now = asyncio.get_running_loop().time()
        for member in list(self.members.values()):
            if now - member.heard_at > member.session_s and member.joining is None:
                del self.members[member.name]
                self._begin_rebalance()
        if self.rebalance_ends_at is None:
            return
        if now >= self.rebalance_ends_at:
            self.members = {name: member for name, member in self.members.items() if member.joining is not None}
        if all(member.joining is not None for member in self.members.values()):
            self._end_rebalance()

    def _end_rebalance(self) -> None:
        self.rebalance_ends_at = None
        self.generation += 1
        for member in self.members.values():
            member.generation = self.generation
            member.assignment = frozenset(self._range_of(member))
            joining, member.joining = member.joining, None
            member.heard_at = asyncio.get_running_loop().time()
            if joining is not None and not joining.done():
                joining.set_result(None)

    def _range_of(self, member: Member) -> Iterable[TopicPartition]:
        for topic in member.topics:
            names = sorted(name for name, each in self.members.items() if topic in each.topics)
            partitions = sorted(self.partitions_of(topic))
            share, rest = divmod(len(partitions), len(names))
            at = names.index(member.name)
            start = at * share + min(at, rest)
            for number in partitions[start : start + share + (at < rest)]:
                yield TopicPartition(topic, number)
