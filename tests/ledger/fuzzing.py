"""Random sales, consumed with everything that can go wrong.

A seed is one site: orders and returns in several versions, consumed in polls that are cut at random, repeated, by a
second consumer whose time is over (a zombie), with crashes before and after the commit, while sums are folded and
read, a user is erased and the sums are rebuilt. The expected result comes from a model: all records, in any order.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from services.chassis.runtime.errors import ContentionError, UnavailableError
from services.ledger.domain.entries import (
    Entry,
    Group,
    GroupKey,
    apply_record,
    derive_entries,
    empty_group,
    erase_user,
    group_sums,
)
from services.ledger.domain.sums import Sums, add_to, without_store
from services.sales.records import SalesRecord
from tests.ledger.harness import Harness
from tests.ledger.records import DAY_US, NOON, a_job, a_return, an_order

ERASED_USER = "erased-later"


@dataclass
class Deadline:
    """When trials give up, by the event loop's clock: cancelled ones would leave the driver's connections behind."""

    at: float

    def check(self) -> None:
        """Raise `AssertionError` once it is over."""
        assert asyncio.get_running_loop().time() < self.at, "it does not get on"


@dataclass
class Trial:
    """How a seed is run. `commits_first` plants a bug: a failed poll is not repeated."""

    harness: Harness
    crashes: "Crashes"
    deadline: Deadline
    commits_first: bool = False


class CrashError(UnavailableError):
    """The process was killed here."""

    def __init__(self) -> None:
        super().__init__("MongoDB")


class Crashes:
    """Decides at each failpoint whether the process is killed, for each seed that is played on its own."""

    def __init__(self) -> None:
        self._current: ContextVar[tuple[random.Random, float] | None] = ContextVar("crashes", default=None)

    def begin(self, chance: random.Random, ratio: float) -> None:
        """Let this task, and those that it starts, crash."""
        self._current.set((chance, ratio))

    def __call__(self) -> None:
        current = self._current.get()
        if current is not None and current[0].random() < current[1]:
            raise CrashError


class Model:
    """All records, and what follows from them."""

    def __init__(self, site: int, key: bytes) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self._site = site
        self._key = key

    def apply(self, records: Sequence[SalesRecord]) -> None:
        for record in records:
            key = GroupKey(self._site, record.order_id)
            group = self.groups.get(key) or empty_group(key)
            self.groups[key] = apply_record(group, record, self._key)

    def erase(self, user_id: str, pseudonym: str) -> None:
        self.groups = {key: erase_user(group, user_id, pseudonym, self._key) for key, group in self.groups.items()}

    def entries(self) -> dict[str, list[Entry]]:
        return {key.order_id: derive_entries(group) for key, group in self.groups.items()}

    def sums(self, harness: Harness) -> Sums:
        sums: Sums = {}
        for group in self.groups.values():
            add_to(sums, group_sums(group, harness.zones.get(harness.zones.zone)))
        return sums


def a_stream(chance: random.Random, site: int) -> list[SalesRecord]:
    """Orders and returns of a few ids, contradictory, in the order of their arrival."""
    records: list[SalesRecord] = []
    ids = [f"o{number}" for number in range(chance.choice((1, 2, 4)))]
    channels = chance.choice((["web"], ["web", None], ["web", "shop|%"]))
    users = ["u1", "u2", ERASED_USER]
    for number in range(chance.randrange(3, 16)):
        at = chance.randrange(6)
        job = chance.choice((None, a_job(chance.randrange(3), chance.randrange(3))))
        when = NOON + chance.randrange(-3, 4) * DAY_US // 2
        order_id, channel, user = chance.choice(ids), chance.choice(channels), chance.choice(users)
        lines = [(chance.choice(("p1", "p2")), chance.randrange(1, 4), chance.choice(("0.01", "9.99", "1.000001")))]
        currency = chance.choice(("USD", "USD", "EUR"))
        sale: dict[str, Any] = {
            "at": at,
            "job": job,
            "site": site,
            "user": user,
            "when": when,
            "currency": currency,
            "lines": lines,
        }
        if chance.random() < 0.6:
            coupon, store = chance.choice((None, "0.5")), chance.choice((None, "s1"))
            records.append(an_order(order_id, channel=channel, coupon=coupon, store=store, **sale))
        else:
            returned_in, value = chance.choice((channel, "offline")), chance.choice((None, "0.3"))
            records.append(a_return(f"r{number % 2}", order_id=order_id, channel=returned_in, value=value, **sale))
    return records


async def play(seed: int, trial: Trial) -> None:
    """Run a seed; raises `AssertionError` with the guarantee that does not hold."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    harness, site = trial.harness, 1_000_000 + seed
    records = a_stream(chance, site)
    model = Model(site, harness.keys.of_site(site))
    model.apply(records)
    erases = chance.random() < 0.3
    trial.crashes.begin(random.Random(seed + 3), chance.choice((0.0, 0.2)))  # noqa: S311 - repeatable
    jobs = [_consume(records, random.Random(seed + 1), trial)]  # noqa: S311 - repeatable
    if chance.random() < 0.5:
        jobs.append(_consume(records[: len(records) // 2], random.Random(seed + 2), trial))  # noqa: S311 - as above
    if erases:
        jobs.append(_until_done(lambda: harness.erase(site, ERASED_USER), trial.deadline))
    if chance.random() < 0.3:
        jobs.append(_until_done(lambda: harness.rebuild(site), trial.deadline))
    if chance.random() < 0.4:
        jobs.append(_look(site, trial))
    ended = await asyncio.gather(*jobs, return_exceptions=True)
    for error in ended:
        if error is not None:
            raise error
    trial.crashes.begin(chance, 0.0)
    if chance.random() < 0.2:
        await _consume(records, chance, trial)
    if erases:
        # An erasure that was interrupted is requested again.
        await harness.erase(site, ERASED_USER)
        model.erase(ERASED_USER, await _pseudonym(harness, site))
    await harness.fold()
    await _compare(model, site, harness)


async def _consume(records: Sequence[SalesRecord], chance: random.Random, trial: Trial) -> None:
    """Read the records from the committed offset, poll by poll; after a crash, from there again, cut differently."""
    committed = 0
    while committed < len(records):
        trial.deadline.check()
        end = min(len(records), committed + chance.choice((1, 2, 5, 20)))
        try:
            await trial.harness.record(*records[committed:end], partition=f"p{id(trial)}", end=end)
        except UnavailableError:
            if not trial.commits_first:
                continue
        committed = end
        if chance.random() < 0.1:
            committed = chance.randrange(committed + 1)
        if chance.random() < 0.3:
            with suppress(ContentionError, UnavailableError):
                await trial.harness.sums.fold()


async def _until_done(work: Callable[[], Awaitable[object]], deadline: Deadline) -> None:
    while True:
        deadline.check()
        try:
            await work()
        except UnavailableError:
            continue
        return


async def _look(site: int, trial: Trial) -> None:
    """At any instant the sums are those of the entries."""
    assert not (await trial.harness.audit(site)).differing, "the sums are not those of the entries at some instant"


async def _pseudonym(harness: Harness, site: int) -> str:
    erasure = await harness.erasures.request(site, ERASED_USER, receipt="", pseudonym="", at_us=0)
    return erasure.pseudonym


async def _compare(model: Model, site: int, harness: Harness) -> None:
    for order_id, expected in model.entries().items():
        assert await harness.find(site, order_id) == expected, "an entry is not what its records say"
    expected_sums = model.sums(harness)
    all_stores, by_store = await harness.stored_sums(site)
    assert by_store == expected_sums, "the sums are not those of the records"
    assert all_stores == without_store(expected_sums), "the sums of all stores are not those of the records"
    assert await harness.published(site) == expected_sums, "the published rows do not add up to the sums"
    assert not (await harness.audit(site)).differing, "the audit finds a difference"
