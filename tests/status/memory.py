"""The job store in memory: what `MongoJobs` promises, with turns given away and failures on demand."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from services.chassis.runtime.errors import UnavailableError
from services.status import wire
from services.status.domain.block import Block
from services.status.domain.facts import Key
from services.status.domain.job import Change, ChunkChange, Job, Standing
from services.status.domain.listing import Listing
from services.status.domain.profile import Origin
from services.status.domain.texts import NO_TEXTS, Texts
from tests.status.events import DEMO

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class MemoryOrigins:
    def of(self, site: int) -> Origin:
        del site
        return DEMO


class Belfry:
    """Remembers who was rung for."""

    def __init__(self) -> None:
        self.rung: list[Key] = []

    def ring(self, keys: Sequence[Key]) -> None:
        self.rung += keys


class MemoryJobs:
    """Documents by `_id`, with the same conditions on every write as MongoDB checks them.

    `turns` says how often others may go first before an operation; `fails` whether it then fails, and whether only
    after it was done. `guarded=False` plants a bug: writes no longer look at what they were computed from.
    """

    def __init__(
        self,
        *,
        turns: Callable[[], int] = lambda: 0,
        fails: Callable[[], str] = lambda: "",
        guarded: bool = True,
    ) -> None:
        self.jobs: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}
        self.writes = self.settled = 0
        self._turns = turns
        self._fails = fails
        self._guarded = guarded

    async def standings(self, keys: Sequence[Key]) -> dict[Key, Standing]:
        await self._elsewhere()
        found = [self.jobs[wire.job_key(key)] for key in keys if wire.job_key(key) in self.jobs]
        return {wire.key_of(document["_id"]): wire.standing_of(document) for document in found}

    async def write(self, changes: Sequence[Change]) -> frozenset[Key]:
        lost, lost_updates = set(), False
        for change in changes:
            failing = await self._elsewhere()
            if change.expected:
                lost_updates |= not self._update_job(wire.job_update(change, NOON))
            elif not self._insert(self.jobs, wire.job_document(change, NOON)):
                lost.add(change.job.key)
            if failing:
                raise UnavailableError("memory")
        if lost_updates:
            lost |= {change.job.key for change in changes if change.expected}
        return frozenset(lost)

    async def settle(self) -> None:
        await self._elsewhere()
        self.settled += 1

    async def chunks(self, job: Job, numbers: Sequence[int]) -> dict[int, Block]:
        await self._elsewhere()
        return {block.number: block for block in self._found(job, numbers)}

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        lost = set()
        for change in changes:
            failing = await self._elsewhere()
            done = (
                self._update_chunk(wire.chunk_update(change, NOON))
                if change.expected
                else self._insert(self.kept, wire.chunk_document(change, NOON))
            )
            if not done:
                lost.add(change.block.number)
            if failing:
                raise UnavailableError("memory")
        return frozenset(lost)

    async def find(self, key: Key, texts: Texts = NO_TEXTS) -> Standing | None:
        await self._elsewhere()
        found = self.jobs.get(wire.job_key(key))
        if found is None:
            return None
        return wire.standing_of(found) if texts else Standing(wire.bare_job_of(found), None)

    async def read_chunks(self, job: Job, numbers: Sequence[int], texts: Texts) -> list[Block]:
        del texts
        await self._elsewhere()
        return self._found(job, numbers)

    async def listed(self, listing: Listing) -> list[Job]:
        kinds = {wire.kind(*kind) for kind in listing.kinds()}
        found = [
            wire.bare_job_of(d)
            for d in sorted(self.jobs.values(), key=_place, reverse=True)
            if d["site"] == listing.site and d["job"][0]["state"]["kind"] in kinds and _is_wanted(d, listing)
        ]
        return found[: listing.rows + 1]

    def _found(self, job: Job, numbers: Sequence[int]) -> list[Block]:
        keys = [wire.chunk_key(job.key, number) for number in numbers]
        return [wire.block_from(self.kept[key], job.profile.total) for key in keys if key in self.kept]

    def _insert(self, where: dict[str, Any], document: Any) -> bool:
        if self._guarded and document["_id"] in where:
            return False
        where[document["_id"]] = document
        self.writes += 1
        return True

    def _update_chunk(self, update: wire.Update) -> bool:
        found = self.kept.get(update.where["_id"])
        if found is None or (self._guarded and any(found.get(name) != value for name, value in update.where.items())):
            return False
        self.kept[update.where["_id"]] = _changed(found, update.change)
        self.writes += 1
        return True

    def _update_job(self, update: wire.Update) -> bool:
        """What a job's document holds is named through the array filter."""
        found = self.jobs.get(update.where["_id"])
        if found is None:
            return False
        (job,) = found["job"]
        known = {name.removeprefix("known."): value for name, value in (update.known or {}).items()}
        if self._guarded and any(_at(job, name) != value for name, value in known.items()):
            return False
        self.jobs[update.where["_id"]] = {**found, "job": [_changed(job, update.change, named="job.$[known].")]}
        self.writes += 1
        return True

    async def _elsewhere(self) -> bool:
        """Let others go first; returns whether to fail once the operation is done."""
        for _ in range(self._turns()):
            await asyncio.sleep(0)
        failing = self._fails()
        if failing == "before":
            raise UnavailableError("memory")
        return failing == "after"


def _changed(document: Any, change: Any, named: str = "") -> Any:
    changed = dict(document)
    for name, value in change["$set"].items():
        changed[name.removeprefix(named)] = value
    for name, more in change.get("$push", {}).items():
        changed[name.removeprefix(named)] = [*document[name.removeprefix(named)], *more["$each"]]
    return changed


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document[name]
    return document


def _place(document: Any) -> tuple[int, str]:
    return document["job"][0]["profile"]["created"], document["_id"]


def _is_wanted(document: Any, listing: Listing) -> bool:
    created, _ = _place(document)
    if listing.from_us is not None and created < listing.from_us:
        return False
    if listing.to_us is not None and created >= listing.to_us:
        return False
    if listing.after is None:
        return True
    last = wire.job_key(Key(listing.site, listing.after.job_id))
    return (created, document["_id"]) < (listing.after.created_us, last)
