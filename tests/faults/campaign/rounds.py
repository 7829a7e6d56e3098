"""One round: clients work, faults happen as the seed says, everything is healed, and the checker judges."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import monotonic

from tests.faults.campaign import process_faults, server_faults, wire_faults
from tests.faults.campaign.fault import Fault, Scene
from tests.faults.checker.ledger import Ledger, Violation
from tests.faults.stack.installation import Installation
from tests.faults.stack.load import TOLERATED, Load, opened
from tests.faults.stack.tenants import Tenant
from tests.faults.stack.topics import TopicReader
from tests.faults.stack.verdict import Verdict, measured

FAULTS: Sequence[Fault] = (*process_faults.FAULTS, *server_faults.FAULTS, *wire_faults.FAULTS)
# Load without faults, before and after them.
CALM_S = 2.0
MAX_START_S = 6.0
# Faults that take longer than this are cancelled by healing.
MAX_FAULTS_S = 35.0


@dataclass
class Round:
    """What a round was and what it led to."""

    seed: int
    faults: Sequence[Fault]
    story: list[str] = field(default_factory=list)
    violations: Sequence[Violation] = ()
    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    ledger: Ledger = field(default_factory=Ledger)
    elapsed_s: float = 0.0
    healed_after_s: float = 0.0

    @property
    def records(self) -> int:
        """Records of promised jobs."""
        return sum(len(sent.records) for sent in self.ledger.job_ids().values())


def draw_faults(rng: random.Random, usable: Sequence[Fault]) -> list[Fault]:
    """Draw one to three faults, at most one of which takes nodes away from Kafka or MongoDB."""
    chosen: list[Fault] = []
    for _ in range(rng.choice((1, 2, 2, 3))):
        takes_nodes = any(fault.takes_nodes for fault in chosen)
        possible = [fault for fault in usable if not (fault.takes_nodes and takes_nodes)]
        if possible:
            chosen.append(rng.choice(possible))
    return chosen


async def play(seed: int, installation: Installation, tenant: Tenant, only: Sequence[str], known: set[bytes]) -> Round:
    """Play the round of a seed with a tenant that no other round has."""
    rng = random.Random(f"{seed} faults")
    usable = [
        fault
        for fault in FAULTS
        if (not only or any(word in fault.name for word in only))
        and not (fault.needs_disks and installation.disks.why_not)
    ]
    played = Round(seed, draw_faults(rng, usable))
    began = monotonic()
    tolerated = TOLERATED | ({401} if any(fault.is_clock for fault in played.faults) else set())
    load = Load(installation, tenant, seed, tolerated=frozenset(tolerated))
    verdict = Verdict(load, TopicReader(installation.kafka.bootstrap_servers), known=known)
    played.ledger = load.ledger
    async with measured(installation), opened(load):
        played.answers = load.api.answers
        await verdict.begin()
        load.start()
        await asyncio.sleep(CALM_S)
        failed = await _play_faults(played, installation)
        await asyncio.sleep(CALM_S)
        healing = monotonic()
        found = await verdict.judge()
    played.healed_after_s = verdict.evidence.healed_at - healing
    played.violations = [*failed, *found]
    played.elapsed_s = monotonic() - began
    known |= {record.key for records in verdict.evidence.records.values() for record in records}
    return played


async def _play_faults(played: Round, installation: Installation) -> list[Violation]:
    """Play all faults at once; return those that could not do what they do, such as a stop that takes too long."""

    async def play_one(fault: Fault, number: int) -> None:
        own = random.Random(f"{played.seed} {number}")
        await asyncio.sleep(own.random() * MAX_START_S)
        await fault.play(Scene(installation, own, played.story))

    tasks = [asyncio.create_task(play_one(fault, number)) for number, fault in enumerate(played.faults)]
    done, late = await asyncio.wait(tasks, timeout=MAX_FAULTS_S)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    failures = [task.exception() for task in done]
    return [Violation("fault", f"{error!r} while {played.story[-3:]}") for error in failures if error is not None]
