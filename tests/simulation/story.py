"""Stories: what clients do and what breaks, drawn from a seed as a list of steps that can be left out."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

REPLICAS = (
    "ingest-1",
    "ingest-2",
    "validator-1",
    "validator-2",
    "status-1",
    "status-2",
    "fulfilment-1",
    "fulfilment-2",
)
# The service that not every story has, by profile and else by chance: a quarter have the ledger, a quarter webhooks.
OPTIONAL = {"sales": "ledger", "feed": "webhooks"}
OPTIONAL_WEIGHTS = (1, 1, 2)
# Stories with a till.
PUTS_RATIO = 0.2
GROUPS = ("validator", "status", "fulfilment", "ledger", "webhooks")
SKUS = ("CARD", "RARE")
# Services are started at 0; midnight is at 6.
BEGIN_S, END_S = 1.0, 7.5
# More records than status stores in one document.
LARGE = 620
SERVERS = ("kafka", "mongodb")
# Whose writes are rolled back, each as often as it is likely to find something.
COLLECTIONS = (
    *("transactions",) * 3,
    *("codes",) * 2,
    *("jobs", "chunks", "purchase_orders", "invoices", "idempotency_keys"),
    *("ledger_entries", "ledger_movements", "ledger_sums"),
)

FEED_COLLECTIONS = ("feed_events", "feed_events", "feeds", "webhook_deliveries", "webhook_endpoints")


@dataclass(frozen=True)
class Step:
    """Something that happens at a time. `number` names it in commands and stays when others are left out."""

    number: int
    at_s: float
    action: str
    arguments: dict[str, Any]

    def __str__(self) -> str:
        details = " ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.number:3} at {self.at_s:6.3f} s: {self.action} {details}"


def draw(seed: int, profile: str = "all") -> list[Step]:
    """Return the story of a seed, in order of time. A profile has more of some faults and requests."""
    rng = random.Random(seed)
    steps: list[Step] = []

    def add(action: str, at_s: float | None = None, **arguments: Any) -> None:
        when = rng.uniform(BEGIN_S, END_S) if at_s is None else at_s
        steps.append(Step(0, round(when, 6), action, arguments))

    replicas = list(REPLICAS)
    optional = OPTIONAL.get(profile) or rng.choices(("ledger", "webhooks", None), OPTIONAL_WEIGHTS)[0]
    if optional is not None:
        add("start", 0.0, service=optional)
        replicas += [f"{optional}-1", f"{optional}-2"]
    if optional == "webhooks":
        _draw_feed(rng, add)
    _draw_requests(rng, add)
    if profile == "puts" or rng.random() < PUTS_RATIO:
        for _ in range(3 if profile == "puts" else 1):
            _draw_puts(rng, add, has_kills=profile == "puts")
    if profile == "pages":
        _draw_large_jobs(rng, add)
    if profile in ("elections", "rollbacks", "codes"):
        _draw_code_rush(rng, add)
    faults = PROFILES[profile]
    for _ in range(rng.choice((0, 1, 2, 2, 3, 4, 6)) if profile == "all" else rng.randint(3, 8)):
        _draw_fault(rng, add, rng.choice(faults), replicas)
    ordered = sorted(steps, key=lambda step: step.at_s)
    return [replace(step, number=number) for number, step in enumerate(ordered)]


def _draw_requests(rng: random.Random, add: Callable[..., None]) -> None:
    """What importers, buyers and readers do in every story."""
    add("put-product", BEGIN_S - 0.4, sku="CARD")
    add("put-product", BEGIN_S - 0.4, sku="RARE")
    for _ in range(rng.randint(1, 3)):
        add("load-codes", sku=rng.choice(SKUS), count=rng.randint(1, 6))
    for number in range(rng.randint(3, 9)):
        _draw_import(rng, add, f"a{number}")
    for _ in range(rng.randint(2, 6)):
        lines = {rng.choice(SKUS): rng.randint(1, 3) for _ in range(rng.randint(1, 2))}
        add("order-codes", lines=lines, has_key=rng.random() < 0.5, gives_up=rng.random() < 0.2)
    for _ in range(rng.randint(2, 6)):
        add("get-codes", which=rng.random())
    for _ in range(rng.randint(3, 8)):
        add(rng.choice(("look", "walk", "walk", "wait")), which=rng.random())


def _draw_import(rng: random.Random, add: Callable[..., None], name: str) -> None:
    kind = rng.random()
    if kind < 0.1:
        add("invalid-import")
        return
    is_direct = kind < 0.25
    count = (
        rng.choice((1, 1, 1, 2, 3, 5, 8))
        if not is_direct
        else rng.choice((1, 3, 3, 20, 120 if rng.random() < 0.8 else LARGE))
    )
    weights = [6, 2, 2 * (not is_direct), 2 * is_direct]
    fates = rng.choices(("good", "rejected", "refused", "poison"), weights, k=count)
    if is_direct:
        add("direct-import", fates=_packed(fates))
        return
    options = {"has_key": rng.random() < 0.3, "gives_up": rng.random() < 0.15}
    options["is_put"] = count == 1 and rng.random() < 0.5
    is_return = rng.random() < 0.15
    add("import", fates=_packed(fates), name=name, kind="returns" if is_return else "orders", **options)
    if not is_return and rng.random() < 0.25:
        # Of the same orders: a return may overtake its order.
        fates = rng.choices(("good", "rejected", "refused"), (6, 1, 1), k=count)
        add("import", fates=_packed(fates), name=name, kind="returns", has_key=False, gives_up=False)


def _draw_feed(rng: random.Random, add: Callable[..., None]) -> None:
    """Endpoints that fail more or less often, and readers of the feed."""
    for at in (BEGIN_S - 0.3, BEGIN_S - 0.2, rng.uniform(BEGIN_S, END_S)):
        types = rng.choice(([], [], ["job.finished"]))
        trouble = rng.choice((0.0, 0.3, 0.7))
        add("add-endpoint", at, types=types, is_ordered=rng.random() < 0.5, trouble=trouble)
    for _ in range(rng.randint(2, 4)):
        add("read-feed", which=rng.random(), rows=rng.choice((1, 2, 5, 100)), waits=rng.random() < 0.5)


def _draw_puts(rng: random.Random, add: Callable[..., None], *, has_kills: bool) -> None:
    """A till that sends its sales one by one: most requests are taken by ingest's direct handler."""
    at, spread_s = rng.uniform(BEGIN_S, END_S - 0.6), rng.choice((0.01, 0.5))
    for number in range(rng.randint(4, 8)):
        fates = rng.choices(("good", "rejected", "refused"), (6, 2, 1))
        name = f"p{number}-{round(at * 1000)}"
        options = {"has_key": False, "gives_up": rng.random() < 0.3, "is_put": True}
        add("import", at + rng.uniform(0.0, spread_s), fates=_packed(fates), name=name, kind="orders", **options)
    if has_kills:
        # A job's event and its record are acknowledged a few milliseconds apart.
        for replica in ("ingest-1", "ingest-2"):
            add("kill", at + 0.002 + rng.uniform(0.0, spread_s), replica=replica, after=rng.randint(0, 20))


def _packed(fates: Sequence[str]) -> str:
    """One letter a record: short enough to print. G, J (rejected), F (refused), P."""
    return "".join({"good": "G", "rejected": "J", "refused": "F", "poison": "P"}[fate] for fate in fates)


# Each as often as it is likely to find something.
FAULTS = (
    *("kill",) * 3,
    *("drop",) * 3,
    *("step-down",) * 2,
    "rollback",
    *("stop", "freeze", "cut", "lag", "leader", "few-replicas", "rebalance", "clock", "fence"),
)


# What a story of a profile suffers from.
PROFILES = {
    "all": FAULTS,
    "elections": ("step-down", "step-down", "lag"),
    "rollbacks": ("rollback", "rollback", "rollback", "step-down"),
    "kills": ("kill", "kill", "stop"),
    "messages": ("drop", "drop", "cut"),
    "brokers": ("leader", "leader", "few-replicas", "fence", "drop"),
    "freezes": ("freeze", "rebalance"),
    "zombies": ("zombie", "zombie", "freeze"),
    "clocks": ("clock",),
    "backlogs": ("backlog", "freeze"),
    "retention": ("retention", "kill", "rebalance"),
    "pages": ("kill", "drop", "lag"),
    "codes": ("drop", "kill"),
    "puts": ("kill", "kill", "drop", "drop", "stop", "fence", "leader", "few-replicas"),
    "feed": ("kill", "kill", "drop", "step-down", "rollback", "rollback", "rebalance", "freeze"),
    "sales": ("kill", "kill", "drop", "step-down", "rollback", "rebalance"),
}


def _draw_large_jobs(rng: random.Random, add: Callable[..., None]) -> None:
    """Large jobs, and readers who walk through them while they are written."""
    for _ in range(2):
        at = rng.uniform(BEGIN_S, END_S - 3)
        fates = rng.choices(("good", "rejected"), (8, 1), k=rng.choice((120, LARGE)))
        add("direct-import", at, fates=_packed(fates))
        # Killed between its chunk and its document, a job stays as it is until the partition has another owner.
        for replica in ("status-1", "status-2"):
            add("kill", at + rng.uniform(0.003, 0.06), replica=replica, after=rng.randint(0, 60))
        for _ in range(12):
            add("walk", at + rng.choice((0.05, 0.3, 2.0)) * rng.random(), which=0.999)


def _draw_code_rush(rng: random.Random, add: Callable[..., None]) -> None:
    """Many buyers and readers of few codes at a time."""
    for _ in range(3):
        at = rng.uniform(BEGIN_S, END_S - 0.5)
        add("load-codes", at, sku="CARD", count=rng.randint(1, 3))
        for _ in range(4):
            add("order-codes", at + rng.uniform(0, 0.3), lines={"CARD": 1}, has_key=False, gives_up=False)
            add("get-codes", at + rng.uniform(0, 0.4), which=rng.random())


def _draw_rollback(rng: random.Random, add: Callable[..., None], collection: str) -> None:
    """A write that no majority gets, and time for others to read it before the next primary lacks it."""
    is_of_consumer = collection in ("jobs", "chunks", "ledger_entries", "feed_events")
    # Longer than a consumer waits for the store before it reads again, and than its session if it is killed.
    after_s = rng.choice((1.1, 4.2, 4.2)) if is_of_consumer else rng.choice((0.1, 0.6, 1.1))
    at = rng.uniform(BEGIN_S, END_S - after_s)
    add("rollback", at, collection=collection, after_s=after_s, kills=rng.random() < 0.5)
    if is_of_consumer:
        count = {"chunks": LARGE, "feed_events": 3}.get(collection, 60)
        add("direct-import", at - rng.uniform(0.0, 0.2), fates="G" * count)


def _draw_fault(rng: random.Random, add: Callable[..., None], kind: str, replicas: Sequence[str]) -> None:  # noqa: C901, PLR0912 - a case for each
    servers = (*SERVERS, "receiver") if "webhooks-1" in replicas else SERVERS
    match kind:
        case "kill":
            add("kill", replica=rng.choice(replicas), after=rng.choice((0, rng.randint(1, 30), rng.randint(1, 400))))
        case "stop":
            add("stop", replica=rng.choice(replicas))
        case "freeze":
            add("freeze", replica=rng.choice(replicas), for_s=rng.choice((0.5, 4.0, 6.0)))
        case "backlog":
            at = rng.uniform(BEGIN_S, BEGIN_S + 1)
            for replica in ("validator-1", "validator-2"):
                add("freeze", at, replica=replica, for_s=6.5)
        case "zombie":
            # Frozen in the middle of a job, and thawed when another process has taken over.
            at = rng.uniform(BEGIN_S, END_S - 4.8)
            add("direct-import", at, fates="G" * rng.choice((60, 120, LARGE)))
            replica = rng.choice(("status-1", "status-2", "validator-1", "validator-2"))
            add("freeze", at + rng.uniform(0.005, 0.12), replica=replica, for_s=4.5)
        case "retention":
            add(
                "retention",
                rng.uniform(BEGIN_S, END_S - 4.5),
                for_s=rng.choice((2.0, 4.0)),
                share=rng.choice((0.3, 1.0)),
            )
        case "cut":
            add(
                "cut",
                server=rng.choice(servers),
                replica=rng.choice(("", *replicas)),
                direction=rng.choice(("request", "answer")),
                for_s=rng.choice((0.3, 2.0, 4.5)),
            )
        case "drop":
            add(
                "drop",
                server=rng.choice(servers),
                replica=rng.choice(("", *replicas)),
                direction=rng.choice(("request", "answer", "answer")),
                count=rng.choice((1, 2, 5)),
            )
        case "step-down":
            add("lag", at := rng.uniform(BEGIN_S, END_S), for_s=0.3)
            add("step-down", at + rng.uniform(0.1, 0.28), for_s=rng.choice((0.1, 1.0, 2.0)))
            if rng.random() < 0.5:
                # What it was about to write is not sent again.
                add("order-codes", at + rng.uniform(0.0, 0.1), lines={"CARD": 1}, has_key=False, gives_up=False)
                add("kill", at + rng.uniform(0.05, 0.1), replica=rng.choice(REPLICAS[-2:]), after=rng.randint(0, 60))
        case "rollback":
            is_of_feed = "webhooks-1" in replicas and rng.random() < 0.5
            _draw_rollback(rng, add, rng.choice(FEED_COLLECTIONS if is_of_feed else COLLECTIONS))
        case "lag":
            add("lag", for_s=rng.choice((0.2, 1.5)))
        case "leader":
            add("few-replicas", at := rng.uniform(BEGIN_S, END_S), for_s=0.05)
            add("leader", at + rng.uniform(0.0, 0.04))
        case "few-replicas":
            add("few-replicas", for_s=rng.choice((0.5, 3.5)))
        case "rebalance":
            add("rebalance", group=rng.choice(GROUPS))
        case "clock":
            add("clock", replica=rng.choice(replicas), by_s=rng.choice((-10_800, -20, 20, 10_800)))
        case "fence":
            add("fence")
