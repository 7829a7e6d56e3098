"""Clients of all kinds at once, against an installation under faults. Each draws its requests from the seed."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from time import monotonic
from typing import Any

from tests.faults.checker.clients import Clients
from tests.faults.checker.downstream import Downstream
from tests.faults.checker.ledger import Attempt, CodeOrder, Fate, Import, Ledger
from tests.faults.stack.direct import DirectProducer, NotSentError
from tests.faults.stack.downstream import read_feed
from tests.faults.stack.http_api import HttpApi, new_session
from tests.faults.stack.installation import Installation
from tests.faults.stack.tenants import PRODUCT, Tenant

FATES = (Fate.GOOD, Fate.REJECTED, Fate.REFUSED)
WEIGHTS = (6, 2, 1)
DIRECT_FATES = (Fate.GOOD, Fate.REJECTED, Fate.POISON)
BATCH_SIZES = (1, 1, 1, 2, 5, 20, 100)
DIRECT_SIZES = (1, 3, 20, 200, 2_000)
# A body that a fault holds up is answered 408: the client sends it again.
TOLERATED = frozenset({408})
# How many of each kind work at the same time.
IMPORTERS, WALKERS, BUYERS, RACERS = 5, 3, 4, 4

Actor = Callable[[Clients, random.Random, str], Awaitable[None]]


@dataclass
class Load:
    """Everything that the clients of one tenant do until `stop()`; the ledger has all of it."""

    installation: Installation
    tenant: Tenant
    seed: int
    largest_job: int = 2_000
    # Multiplies the pauses between requests.
    pause: float = 1.0
    tolerated: frozenset[int] = TOLERATED
    ledger: Ledger = field(default_factory=Ledger)
    downstream: Downstream = field(default_factory=Downstream)
    api: HttpApi = field(init=False)
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)
    _numbers: Any = field(default_factory=count)
    _is_over: bool = False
    _direct: DirectProducer = field(init=False)

    @property
    def skus(self) -> tuple[str, str]:
        """Products of this tenant's rounds."""
        return f"CARD-{self.tenant.site}", f"RARE-{self.tenant.site}"

    def start(self) -> None:
        """Let all clients begin."""
        actors: list[tuple[Actor, int]] = [
            (self._import, IMPORTERS),
            (self._import_directly, 1),
            (self._watch, WALKERS),
            (self._buy, BUYERS),
            (self._race, 1),
            (self._load_codes, 1),
        ]
        for actor, copies in actors:
            for copy in range(copies):
                self.tasks.append(asyncio.create_task(self._repeat(actor, f"{actor.__name__.strip('_')}{copy}")))
        self.tasks.append(asyncio.create_task(read_feed(self.api, self.downstream, is_over=lambda: self._is_over)))

    def stop(self) -> None:
        """Begin nothing more; what was begun goes on."""
        self._is_over = True

    def clients(self, name: str) -> Clients:
        """Clients with draws of their own, and with the common ledger."""
        rng = random.Random(f"{self.seed} {name}")
        return Clients(self.api, self.ledger, rng, product=PRODUCT, tolerated=self.tolerated)

    async def _repeat(self, actor: Actor, name: str) -> None:
        clients = self.clients(name)
        turns = count()
        while not self._is_over:
            await actor(clients, clients.rng, f"{self.tenant.site}-{name}-{next(turns)}")
            await asyncio.sleep(self.pause * clients.rng.choice((0.0, 0.02, 0.1)))

    async def _import(self, clients: Clients, rng: random.Random, name: str) -> None:
        sent = self._draw_import(rng, name)
        await clients.import_records(sent, gives_up=rng.random() < 0.1)

    def _draw_import(self, rng: random.Random, name: str) -> Import:
        number = next(self._numbers)
        kind = rng.choice(("orders", "orders", "returns"))
        if rng.random() < 0.05:
            return Import(number, {f"{name}-0": Fate.GOOD}, is_invalid=True, kind=kind)
        size = rng.choice(BATCH_SIZES)
        fates = rng.choices(FATES, WEIGHTS, k=size)
        records = {f"{name}-{index}": fate for index, fate in enumerate(fates)}
        key = name if rng.random() < 0.3 else None
        return Import(number, records, key=key, kind=kind, is_put=size == 1 and rng.random() < 0.3)

    async def _import_directly(self, clients: Clients, rng: random.Random, name: str) -> None:
        size = min(rng.choice(DIRECT_SIZES), self.largest_job)
        fates = rng.choices(DIRECT_FATES, (12, 2, 1), k=size)
        records = {f"{name}-{index}": fate for index, fate in enumerate(fates)}
        secrets = {order_id: clients.new_secret(order_id) for order_id in records}
        sent = Import(next(self._numbers), records, direct_job_id=name)
        # Its records may be there, completely or not, before its producer knows.
        attempt = Attempt(sent_at=monotonic())
        sent.attempts.append(attempt)
        self.ledger.imports.append(sent)
        try:
            attempt.job_id = sent.direct_job_id = await self._direct.submit(records, secrets, rng)
        except NotSentError:
            return
        finally:
            attempt.answered_at = monotonic()
        attempt.status = 200

    async def _watch(self, clients: Clients, rng: random.Random, name: str) -> None:
        del name
        known = [job_id for sent in self.ledger.imports[-40:] for job_id in sent.job_ids]
        if not known:
            await asyncio.sleep(0.1)
            return
        job_id = rng.choice(known)
        match rng.random():
            case chance if chance < 0.3:
                await clients.look(job_id, wait_s=rng.choice((1, 3)))
            case chance if chance < 0.6:
                for _ in range(3):
                    await clients.look(job_id)
            case _:
                await clients.walk(job_id)

    async def _buy(self, clients: Clients, rng: random.Random, name: str) -> None:
        order = CodeOrder(name, {sku: rng.randint(1, 3) for sku in rng.sample(self.skus, rng.randint(1, 2))})
        await clients.order_codes(order, has_key=rng.random() < 0.5, gives_up=rng.random() < 0.15)
        await clients.get_codes(order)

    async def _race(self, clients: Clients, rng: random.Random, name: str) -> None:
        """Read a transaction's codes several times at once."""
        del name
        known = [order for order in self.ledger.orders[-20:] if order.transaction_ids]
        if known:
            order = rng.choice(known)
            await asyncio.gather(*(clients.get_codes(order) for _ in range(RACERS)))
        await asyncio.sleep(0.1)

    async def _load_codes(self, clients: Clients, rng: random.Random, name: str) -> None:
        """Make a few codes available at a time: stock stays scarce."""
        sku = rng.choice(self.skus)
        codes = [f"canary-code-{name}-{number}" for number in range(rng.randint(1, 8))]
        await clients.load_codes(sku, codes)
        await asyncio.sleep(0.3)


@asynccontextmanager
async def opened(load: Load) -> AsyncIterator[Load]:
    """Open its connections and put its products on sale; clients begin with `start()`."""
    bootstrap = load.installation.kafka.wired_bootstrap_servers
    async with new_session() as session:
        load.api = HttpApi(load.installation, load.tenant, random.Random(f"{load.seed} http"), session)
        load._direct = DirectProducer(bootstrap, load.tenant.site)
        setup = load.clients("setup")
        for sku in load.skus:
            await setup.put_product(sku)
        try:
            yield load
        finally:
            load.stop()
            for task in load.tasks:
                task.cancel()
            await asyncio.gather(*load.tasks, return_exceptions=True)
