"""After healing: waits until everything has ended, reads everything, and lets the shared checker judge."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from sandbox.errors import NotReadyError
from tests.faults.checker.downstream import check_downstream
from tests.faults.checker.evidence import TOPICS, Collector, NotHealedError
from tests.faults.checker.invariants import MAX_END_S, check
from tests.faults.checker.ledger import Evidence, KafkaRecord, Violation
from tests.faults.stack.downstream import collect_downstream
from tests.faults.stack.installation import Installation
from tests.faults.stack.load import Load
from tests.faults.stack.replica import MIB
from tests.faults.stack.topics import TopicReader

JOB_DEADLINE_S = 45.0
MAX_RSS = 300 * MIB
CANARY = b"canary-"
LOOKS_AT_ONCE = 10
READS_AT_ONCE = 12


@dataclass
class Verdict:
    """What one round led to."""

    load: Load
    reader: TopicReader
    evidence: Evidence = field(default_factory=Evidence)
    # Ids that earlier rounds have announced; a relay may announce one again.
    known: set[bytes] = field(default_factory=set)
    _log_sizes: dict[Path, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.evidence.job_deadline_s = JOB_DEADLINE_S

    @property
    def _installation(self) -> Installation:
        return self.load.installation

    async def begin(self) -> None:
        """Remember where topics and logs end."""
        await self.reader.mark(TOPICS)
        for replica in self._installation.replicas.values():
            replica.highest_rss = 0
            self._log_sizes[replica.log] = replica.log.stat().st_size

    async def judge(self) -> list[Violation]:
        """Stop the clients, heal, wait, read everything, check."""
        self.load.stop()
        died = self._unexpected_exits()
        try:
            await self._installation.heal()
        except (TimeoutError, NotReadyError) as error:
            return [*died, Violation("I3", f"not everything is ready after healing: {error}")]
        self.evidence.healed_at = monotonic()
        try:
            await self._settle()
        except NotHealedError as error:
            invariant, _, message = str(error).partition(": ")
            return [*died, Violation(invariant, message)]
        found = check(self.load.ledger, self.evidence)
        found += check_downstream(self.evidence, self.load.downstream)
        return [*died, *found, *await self._canaries(), *self._memory(), *self._unexpected_exits()]

    async def _settle(self) -> None:
        deadline = self.evidence.healed_at + MAX_END_S + JOB_DEADLINE_S
        clients = self.load.clients("settle")
        while not all(task.done() for task in self.load.tasks) or self._open_jobs():
            if monotonic() > deadline:
                break
            looks = await asyncio.gather(*map(clients.look, self._open_jobs()[:LOOKS_AT_ONCE]))
            for look in looks:
                if look is not None and look.terminal:
                    self.evidence.ended_at[look.job_id] = look.answered_at
            await asyncio.sleep(0.05)
        waiting = [task for task in self.load.tasks if not task.done()]
        if waiting:
            raise NotHealedError(f"I3: {len(waiting)} clients wait for an answer long after the last fault")
        for task in self.load.tasks:
            task.result()
        collector = Collector(self.load.api, self.load.ledger, self._read, concurrency=READS_AT_ONCE)
        await self._wait_for_others(collector, deadline)
        days = business_days()
        if await self._installation.run_cli("fulfilment", "close-day", "--date", days[0]) != 0:
            raise NotHealedError("I6: the day cannot be closed")
        await collector.collect(self.evidence, days)
        await collect_downstream(collector, self.evidence, self.load.downstream, days[1])

    def _open_jobs(self) -> list[str]:
        return sorted(set(self.load.ledger.job_ids()) - set(self.evidence.ended_at))

    async def _wait_for_others(self, collector: Collector, deadline: float) -> None:
        """Wait for the end of jobs that nobody was promised."""
        while monotonic() < deadline:
            if all(job["terminal"] for job in await collector._all("status", "/jobs?rows=100")):
                return
            await asyncio.sleep(0.5)

    async def _read(self, topic: str) -> Sequence[KafkaRecord]:
        return [record for record in await self.reader.read(topic) if record.key not in self.known]

    async def _canaries(self) -> list[Violation]:
        """I10: no planted secret is in a log or a metric."""
        found = []
        for replica in self._installation.replicas.values():
            with replica.log.open("rb") as log:
                log.seek(self._log_sizes[replica.log])
                if CANARY in log.read():
                    found.append(Violation("I10", f"a planted secret is in the log of {replica.name}"))
            if CANARY in await replica.metrics(self._installation.session):
                found.append(Violation("I10", f"a planted secret is in the metrics of {replica.name}"))
        return found

    def _memory(self) -> list[Violation]:
        """I8: no service took more memory than it may, as often as it was measured."""
        return [
            Violation("I8", f"{replica.name} had {replica.highest_rss // MIB} MiB in memory")
            for replica in self._installation.replicas.values()
            if replica.highest_rss > MAX_RSS
        ]

    def _unexpected_exits(self) -> list[Violation]:
        return [
            Violation("I3", f"{replica.name} exited with code {replica.process.exit_code} by itself")
            for replica in self._installation.replicas.values()
            if not replica.is_down and not replica.process.is_running
        ]


def business_days() -> list[str]:
    """The day that is closed, and the next one, which later orders join."""
    today = datetime.now(UTC)
    return [today.date().isoformat(), (today + timedelta(days=1)).date().isoformat()]


@asynccontextmanager
async def measured(installation: Installation, every_s: float = 0.5) -> AsyncIterator[None]:
    """Measure the services' memory meanwhile."""

    async def measure() -> None:
        while True:
            for replica in installation.replicas.values():
                replica.measure()
            await asyncio.sleep(every_s)

    task = asyncio.create_task(measure())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
