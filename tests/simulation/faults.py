"""What breaks in a story: a method for each action of `story.FAULTS`."""

import asyncio
import contextvars
from collections.abc import Callable

from aiokafka import ConsumerRecord

from tests.faults.checker.invariants import SUBMITTED
from tests.faults.checker.ledger import Evidence, KafkaRecord
from tests.simulation import virtual_time
from tests.simulation.installation import Installation
from tests.simulation.story import Step


class Faults:
    """Breaks an installation until `is_healed`."""

    installation: Installation
    evidence: Evidence
    trace: Callable[[str], None]
    is_healed: bool

    async def _kill(self, _step: Step, *, replica: str, after: int) -> None:
        if found := self.installation.replicas.get(replica):
            found.process.dies_after = after

    async def _stop(self, _step: Step, *, replica: str) -> None:
        if replica in self.installation.replicas:
            await self.installation.stop(replica)

    async def _freeze(self, _step: Step, *, replica: str, for_s: float) -> None:
        if found := self.installation.replicas.get(replica):
            found.process.frozen_until = self.installation.loop.now + for_s

    async def _cut(self, _step: Step, *, server: str, replica: str, direction: str, for_s: float) -> None:
        self.installation.network.cut(server, replica, direction, until=self.installation.loop.now + for_s)

    async def _drop(self, _step: Step, *, server: str, replica: str, direction: str, count: int) -> None:
        self.installation.network.drop(server, replica, direction, count)

    async def _lag(self, _step: Step, *, for_s: float) -> None:
        self.installation.mongodb.lag(for_s=for_s)

    async def _step_down(self, _step: Step, *, for_s: float) -> None:
        self.installation.mongodb.step_down(for_s=for_s)

    async def _rollback(self, _step: Step, *, collection: str, after_s: float, kills: bool) -> None:
        """Let no majority get the next write to the collection, and its writer perhaps never learn of that."""
        loop, mongodb = self.installation.loop, self.installation.mongodb

        def elect() -> None:
            if not self.is_healed:
                self.trace(f"a write to {collection} is rolled back")
                mongodb.step_down(for_s=0.1, keeps=0)

        def on_write() -> None:
            writer = virtual_time.CURRENT.get()
            mongodb.lag(for_s=after_s + 0.1)
            loop.call_later(after_s, elect, context=contextvars.Context())
            if kills and writer is not None:
                writer.kill()

        if not self.is_healed:
            mongodb.traps[collection] = on_write

    async def _few_replicas(self, _step: Step, *, for_s: float) -> None:
        kafka = self.installation.kafka
        kafka.too_few_replicas_until = max(kafka.too_few_replicas_until, self.installation.loop.now + for_s)

    async def _leader(self, _step: Step) -> None:
        for where in list(self.installation.kafka.partitions):
            self.installation.kafka.change_leader(where)

    async def _retention(self, _step: Step, *, for_s: float, share: float) -> None:
        """Keep the validators from reading for a while, and then delete records that they have not read."""
        loop, kafka = self.installation.loop, self.installation.kafka
        for name in ("validator-1", "validator-2"):
            self.installation.replicas[name].process.frozen_until = loop.now + for_s
        await asyncio.sleep(for_s * 0.9)
        if self.is_healed:
            return
        for where, partition in kafka.partitions.items():
            if where.topic not in SUBMITTED:
                continue
            first = max(kafka.group("validator").committed.get(where, 0), partition.begin)
            until = first + round(share * (partition.committed - first))
            for record in partition.records[first - partition.begin : until - partition.begin]:
                if identity := kafka_record(record).identity:
                    self.evidence.deleted.add(identity)
            kafka.delete_before(where, until)

    async def _rebalance(self, _step: Step, *, group: str) -> None:
        self.installation.kafka.group(group).rebalance()

    async def _clock(self, _step: Step, *, replica: str, by_s: float) -> None:
        if found := self.installation.replicas.get(replica):
            found.process.clock_offset_s = by_s

    async def _fence(self, _step: Step) -> None:
        self.installation.kafka.fence_all()


def kafka_record(record: ConsumerRecord) -> KafkaRecord:
    """What the checker needs of a record."""
    return KafkaRecord(record.topic, record.key or b"", {name: value or b"" for name, value in record.headers})
