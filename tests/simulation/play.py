"""Plays a story: runs its steps, heals everything, waits, and lets the checker judge."""

import asyncio
import gc
import hashlib
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis.kafka.lag import LOST
from tests.faults.checker.api import NoAnswerError, Response
from tests.faults.checker.clients import Clients
from tests.faults.checker.evidence import Collector, NotHealedError
from tests.faults.checker.feed_clients import FeedClients
from tests.faults.checker.invariants import MAX_END_S, SUBMITTED, check
from tests.faults.checker.ledger import Attempt, CodeOrder, Evidence, Fate, Import, KafkaRecord, Ledger, Violation
from tests.simulation import setup, virtual_time
from tests.simulation.direct import submit_directly
from tests.simulation.faults import Faults, kafka_record
from tests.simulation.installation import API_KEY, JOB_DEADLINE_S, SITE, Installation
from tests.simulation.offsets import OffsetWatch
from tests.simulation.receiver import Receiver, SimulatedTransport
from tests.simulation.story import REPLICAS, Step
from tests.simulation.virtual_time import SimulationLoop, StuckError

FATES = {"G": Fate.GOOD, "J": Fate.REJECTED, "F": Fate.REFUSED, "P": Fate.POISON}
AUDIENCES = {
    "import": ("ingest", "omnichannel-api", "orders:write returns:write", f"/omnichannel/api/v1/{API_KEY}"),
    "status": ("status", "common-status", "status:read", f"/common-status/v1/{API_KEY}"),
    "fulfilment": (
        "fulfilment",
        "fulfilment",
        "orders:create orders:read codes:read invoices:read stock:write",
        "/fulfilment/v1",
    ),
    "ledger": ("ledger", "ledger", "sales:read", f"/ledger/v1/{API_KEY}"),
    "events": ("webhooks", "events", "events:read webhooks:write", f"/events/v1/{API_KEY}"),
}
MAX_TURNS = 150_000
SETTLE_S = MAX_END_S + JOB_DEADLINE_S + 10.0


@dataclass
class Outcome:
    """What became of a story. The digest is of everything that happened, turn by turn."""

    violations: list[Violation]
    digest: str
    turns: int
    deaths: int
    elapsed_s: float
    jobs: int = 0
    transactions: int = 0
    direct_requests: int = 0
    feed_events: int = 0


class SimulatedApi:
    """Sends clients' requests to a random replica of each service."""

    def __init__(self, installation: Installation, trace: Any, rng: random.Random) -> None:
        self._installation = installation
        self._trace = trace
        self._rng = rng

    async def call(self, service: str, method: str, path: str, *, body: Any = None, headers: Any = None) -> Response:
        kind, audience, scope, base = AUDIENCES[service]
        replica = f"{kind}-{self._rng.randint(1, 2)}"
        token = setup.token(audience, scope, SITE, API_KEY)
        try:
            response = await self._installation.call(
                replica, method, base + path, token=token, body=body, headers=headers
            )
        except NoAnswerError:
            self._trace(f"{method} {path} at {replica}: no answer")
            raise
        self._trace(f"{method} {path} at {replica}: {response.status} {hashlib.sha256(response.body).hexdigest()[:8]}")
        return response

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Player(Faults):
    """Runs one story."""

    installation: Installation
    rng: random.Random
    echo: bool = False
    ledger: Ledger = field(default_factory=Ledger)
    evidence: Evidence = field(default_factory=Evidence)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    is_healed: bool = False

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256()
        self.lost_before = _reported_lost()
        self.evidence.job_deadline_s = JOB_DEADLINE_S
        api = SimulatedApi(self.installation, self.trace, self.rng)
        self.clients = Clients(api, self.ledger, self.rng)
        self.collector = Collector(api, self.ledger, self._read_topic)
        self.feed = FeedClients(self.clients, self._feed_head)
        self.receiver = SimulatedTransport.receiver = Receiver(self.rng, self.ledger.endpoints)
        self.offsets = OffsetWatch(self.installation)

    def trace(self, text: str) -> None:
        """Add a line to what must be the same in each replay."""
        line = f"{self.installation.loop.now:10.6f} {self.installation.loop.turns} {text}"
        self.digest.update(line.encode())
        if self.echo:
            print(f"  {line}")

    async def play(self, steps: Sequence[Step]) -> list[Violation]:
        """Play the steps, heal, wait for the end, and return what was violated."""
        if any(step.action == "clock" for step in steps):
            self.clients.tolerated = frozenset({401})
        self.installation.create_topics()
        for name in REPLICAS:
            self.installation.start(name.rpartition("-")[0], name)
        loop = self.installation.loop
        for step in steps:
            await asyncio.sleep(max(step.at_s - loop.now, 0.0))
            self.trace(str(step))
            self.tasks.append(loop.create_task(self._perform(step)))
        await self._heal()
        try:
            await self._settle()
        except NotHealedError as error:
            invariant, _, message = str(error).partition(": ")
            return [*self.offsets.violations, *self._defects(), Violation(invariant, message)]
        return [*self.offsets.violations, *check(self.ledger, self.evidence), *self._defects()]

    def _defects(self) -> list[Violation]:
        found = [Violation("defect", text) for text in setup.defects.found]
        if any(secret in text for secret in self.ledger.secrets for text in setup.defects.lines):
            found.append(Violation("I10", "a planted secret is in a log"))
        return found

    async def _heal(self) -> None:
        loop, installation = self.installation.loop, self.installation
        installation.network.heal()
        kafka, mongodb = installation.kafka, installation.mongodb
        kafka.too_few_replicas_until = min(kafka.too_few_replicas_until, loop.now)
        mongodb.no_primary_until = min(mongodb.no_primary_until, loop.now)
        mongodb.lagging_until = min(mongodb.lagging_until, loop.now)
        mongodb.traps.clear()
        self.receiver.is_well = True
        for replica in installation.replicas.values():
            replica.process.frozen_until = 0.0
            replica.process.clock_offset_s = 0.0
            replica.process.dies_after = None
        self.is_healed = True
        self.evidence.healed_at = loop.now
        self.trace("healed")

    async def _settle(self) -> None:
        """Wait until clients are done and jobs have ended, then collect."""
        loop = self.installation.loop
        deadline = self.evidence.healed_at + SETTLE_S
        while not all(task.done() for task in self.tasks) or self._open_jobs():
            if loop.now >= deadline:
                break
            for job_id in self._open_jobs():
                look = await self.clients.look(job_id)
                if look is not None and look.terminal:
                    self.evidence.ended_at[job_id] = look.answered_at
            await asyncio.sleep(0.25)
        unanswered = [task for task in self.tasks if not task.done()]
        if unanswered:
            raise NotHealedError(f"I3: {len(unanswered)} clients wait for an answer {SETTLE_S} s after the last fault")
        for task in self.tasks:
            task.result()
        await self._wait_for_others(deadline)
        self.evidence.reported_lost = _reported_lost() - self.lost_before
        await self.collector.collect(self.evidence, _days(), has_sales="ledger-1" in self.installation.replicas)
        if "webhooks-1" in self.installation.replicas:
            await self.feed.collect(self.collector, self.evidence)

    def _open_jobs(self) -> list[str]:
        return sorted(set(self.ledger.job_ids()) - set(self.evidence.ended_at))

    async def _wait_for_others(self, deadline: float) -> None:
        """Wait for jobs without a promise, for the end of the first day, and for pending codes."""
        while self.installation.loop.now < deadline:
            jobs = await self.collector.get("status", "/jobs?rows=100")
            days = [await self.collector.get("fulfilment", f"/purchase-orders?date={_days()[0]}")]
            closed = all(order["state"] == "CLOSED" for day in days for order in day["result"])
            if closed and all(job["terminal"] for job in jobs["result"]):
                return
            await asyncio.sleep(1.0)

    async def _read_topic(self, topic: str) -> list[KafkaRecord]:
        return list(map(kafka_record, self.installation.kafka.all_records(topic)))

    async def _perform(self, step: Step) -> None:
        await getattr(self, "_" + step.action.replace("-", "_"))(step, **step.arguments)

    async def _import(
        self,
        step: Step,
        *,
        fates: str,
        has_key: bool,
        gives_up: bool,
        kind: str = "orders",
        name: str = "",
        is_put: bool = False,
    ) -> None:
        records = {f"{name or f'o{step.number}'}-{n}": FATES[fate] for n, fate in enumerate(fates)}
        key = f"key-{step.number}" if has_key else None
        sent = Import(step.number, records, kind=kind, key=key, is_put=is_put)
        await self.clients.import_records(sent, gives_up=gives_up)

    async def _invalid_import(self, step: Step) -> None:
        await self.clients.import_records(Import(step.number, {f"o{step.number}-0": Fate.GOOD}, is_invalid=True))

    async def _direct_import(self, step: Step, *, fates: str) -> None:
        records = {f"o{step.number}-{n}": FATES[fate] for n, fate in enumerate(fates)}
        job_id = await submit_directly(self.installation, step.number, records, self.clients)
        sent = Import(step.number, records, direct_job_id=job_id)
        sent.attempts.append(Attempt(status=200, job_id=job_id))
        self.ledger.imports.append(sent)

    def _some_job(self, which: float) -> str | None:
        known = [job_id for sent in self.ledger.imports for job_id in sent.job_ids]
        return known[int(which * len(known))] if known else None

    async def _look(self, _step: Step, *, which: float, wait_s: int = 0) -> None:
        if job_id := self._some_job(which):
            for _ in range(4):
                await self.clients.look(job_id, wait_s=wait_s)
                await asyncio.sleep(0.2)

    async def _wait(self, step: Step, *, which: float) -> None:
        await self._look(step, which=which, wait_s=2)

    async def _walk(self, _step: Step, *, which: float) -> None:
        if job_id := self._some_job(which):
            for _ in range(3):
                await self.clients.walk(job_id)
                await asyncio.sleep(0.02)

    async def _put_product(self, _step: Step, *, sku: str) -> None:
        await self.clients.put_product(sku)

    async def _load_codes(self, step: Step, *, sku: str, count: int) -> None:
        await self.clients.load_codes(sku, [f"CODE-{step.number:03}-{n}-SECRET" for n in range(count)])

    async def _order_codes(self, step: Step, *, lines: dict[str, int], has_key: bool, gives_up: bool) -> None:
        order = CodeOrder(f"n{step.number}", lines)
        await self.clients.order_codes(order, has_key=has_key, gives_up=gives_up)
        await self.clients.get_codes(order)

    async def _get_codes(self, _step: Step, *, which: float) -> None:
        known = [order for order in self.ledger.orders if order.transaction_ids]
        if known:
            order = known[int(which * len(known))]
            await asyncio.gather(*(self.clients.get_codes(order) for _ in range(3)))

    async def _add_endpoint(self, step: Step, *, types: list[str], is_ordered: bool, trouble: float) -> None:
        name = f"e{step.number}"
        self.receiver.trouble[name] = trouble
        await self.feed.add_endpoint(f"https://receiver.example/{name}", types=types, is_ordered=is_ordered)

    async def _read_feed(self, _step: Step, *, which: float, rows: int, waits: bool) -> None:
        await self.feed.read(which=which, rows=rows, waits=waits, is_over=lambda: self.is_healed)

    def _feed_head(self) -> int:
        return max((each["sequence"] for each in self.installation.mongodb.settled("feed_events")), default=0)

    async def _start(self, _step: Step, *, service: str) -> None:
        """Start the replicas of a service that not every story has."""
        for number in (1, 2):
            self.installation.start(service, f"{service}-{number}")


def _reported_lost() -> int:
    """How many submitted records all processes so far have reported as lost."""
    return sum(int(LOST.labels(topic)._value.get()) for topic in SUBMITTED)


def _days() -> list[str]:
    """The business days of a story, by the simulated customer's clock."""
    zone_h = 2
    first = datetime.fromtimestamp(virtual_time.START_S, UTC) + timedelta(hours=zone_h)
    return [first.date().isoformat(), (first + timedelta(days=1)).date().isoformat()]


def play(seed: int, steps: Sequence[Step], *, schedule: int = 0, echo: bool = False) -> Outcome:
    """Play the steps with one of the seed's schedules of messages and callbacks; 0 is the one that seeds are played in.

    The same arguments give the same outcome.
    """
    rng = random.Random(f"schedule {seed}.{schedule}" if schedule else f"schedule {seed}")
    loop = SimulationLoop(rng)
    loop.max_turns = MAX_TURNS
    virtual_time.bind(loop, random.Random(f"system {seed}"))
    setup.defects.clear()
    setup.defects.is_active = True
    gc.disable()
    player = Player(Installation(loop, rng), rng, echo=echo)
    asyncio.set_event_loop(loop)
    started = virtual_time.REAL_MONOTONIC()
    try:
        violations = loop.run_until_complete(player.play(steps))
    except StuckError as error:
        violations = [Violation("I3", f"the simulation does not end: {error}")]
    deaths, direct_requests = player.installation.deaths, player.installation.direct_requests
    player.installation.end()
    outcome = Outcome(
        violations,
        player.digest.hexdigest()[:16],
        loop.turns,
        deaths,
        virtual_time.REAL_MONOTONIC() - started,
        len(player.evidence.jobs),
        len(player.evidence.transactions),
        direct_requests,
        len(player.evidence.feed or ()),
    )
    # What is left of the processes ends here, and nobody hears of it.
    setup.defects.is_active = False
    with suppress(Exception):
        loop.close()
    loop.remains.clear()
    del player, loop
    gc.collect()
    return outcome
