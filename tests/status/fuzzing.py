"""Any stream of events, cut, doubled, reordered, contradicted, read by two at once, failing on the way.

One seed is one job and all that happens to it. What it must come to is worked out by a model that fits on a page: a
letter for each record, and the first one wins.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import Expired, JobEvent, JobHeader, JobKey, Judged, Opened
from services.status.domain.block import ALL_EVENTS, Block
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.page import EventsRequest, build_events_page, select_event_chunks
from services.status.domain.page_range import FIRST_POSITION, PageRange
from services.status.domain.summary import build_summary
from services.status.domain.updates import UNPROCESSED
from services.status.flows.apply_events import Deps, apply_events
from services.status.http.responses import build_summary_body
from services.status.ports import JobReader, JobWriter
from tests.jobs.events import a_header, a_run, expired, judged, opened
from tests.status.builders import split_page
from tests.status.memory import FakeNotifier, FakeSiteProfiles


class JobStore(JobWriter, JobReader, Protocol):
    """A store of jobs."""


@dataclass
class Trial:
    """How a seed is played. `fails` says how an operation fails: not, before, in the middle, after.

    `commits_first` plants a bug: what failed is not done again, because its offsets were committed already.
    """

    jobs: JobStore
    looks: int
    commits_first: bool = False


Failing = Callable[[], str]


class FlakyJobStore:
    """Passes operations on to a store, failing as it is told to; counts what was written."""

    def __init__(self, jobs: JobStore, fails: Failing) -> None:
        self._jobs = jobs
        self._fails = fails
        self.writes = 0
        self.find = jobs.find
        self.find_chunks = jobs.find_chunks
        self.list_jobs = jobs.list_jobs

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        self._fail()
        return await self._jobs.load(keys)

    async def wait_until_durable(self) -> None:
        self._fail()
        await self._jobs.wait_until_durable()

    async def load_chunks(self, job: Job, numbers: Sequence[int]) -> dict[int, Block]:
        self._fail()
        return await self._jobs.load_chunks(job, numbers)

    async def write(self, changes: Sequence[JobChange]) -> frozenset[JobKey]:
        failing = self._fail()
        if failing == "between":
            changes = changes[: len(changes) // 2]
        lost = await self._jobs.write(changes)
        self.writes += len(changes) - len(lost)
        if failing:
            raise UnavailableError("MongoDB")
        return lost

    async def write_chunks(self, changes: Sequence[ChunkChange]) -> frozenset[int]:
        failing = self._fail()
        if failing == "between":
            changes = changes[: len(changes) // 2]
        lost = await self._jobs.write_chunks(changes)
        self.writes += len(changes) - len(lost)
        if failing:
            raise UnavailableError("MongoDB")
        return lost

    def _fail(self) -> str:
        failing = self._fails()
        if failing == "before":
            raise UnavailableError("MongoDB")
        return failing


class Model:
    """What a job must come to: the first outcome of a record is its outcome, whatever was said in other words."""

    def __init__(self, total: int) -> None:
        self.letters, self.late = ["."] * total, ["."] * total
        self.claims: list[set[str]] = [set() for _ in range(total)]

    def apply(self, event: JobEvent) -> None:
        match event.fact:
            case Expired():
                for index in range(len(self.letters)):
                    self._claim(index, UNPROCESSED)
            case Judged(run=run) | Opened(refused=run):
                for at, letter in enumerate(run.outcomes if run is not None else ""):
                    if run is not None and letter != ".":
                        self._claim(run.first + at, letter)

    def _claim(self, index: int, letter: str) -> None:
        self.claims[index].add(letter)
        if self.letters[index] == ".":
            self.letters[index] = letter
        elif self.letters[index] == UNPROCESSED and self.late[index] == "." and letter != UNPROCESSED:
            self.late[index] = letter


class ReaderView:
    """What a reader saw before must still be so later."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.decided = 0
        self.final: bytes | None = None
        self.letters = ""
        self.late = ""

    async def look(self, jobs: JobStore, key: JobKey) -> None:
        found = await jobs.find(key, ALL_EVENTS)
        if found is None:
            assert not self.seen, "a job vanished"
            return
        job = found.job
        blocks = (
            [found.block] if found.block else await jobs.find_chunks(job, range(len(job.chunk_tallies)), ALL_EVENTS)
        )
        texts = split_page(build_events_page(job, blocks, EventsRequest(rows=100_000, show_all=True)))
        assert texts[: len(self.seen)] == self.seen, "what was shown has changed"
        assert job.tally.decided_count >= self.decided, "a count went down"
        _counts_agree(job, blocks, texts)
        if self.final is not None:
            assert build_summary_body(job, show_all=False, rows=1) == self.final, "an ended job changed"
        blocks = sorted(blocks, key=lambda block: block.first)
        self.letters, self.late = "".join(b.outcomes for b in blocks), "".join(b.late_outcomes for b in blocks)
        self.seen, self.decided = texts, job.tally.decided_count
        self.final = build_summary_body(job, show_all=False, rows=1) if job.is_terminal else None


def _counts_agree(job: Job, blocks: Sequence[Block], texts: Sequence[str]) -> None:
    whole = job.tally
    assert sum(build_summary(job, show_all=True).get(level, 0) for level in LEVELS) == len(texts), (
        "events are miscounted"
    )
    if job.is_terminal:
        letters = "".join(block.outcomes for block in sorted(blocks, key=lambda block: block.first))
        assert (letters.count("S"), letters.count("F"), letters.count("U")) == (
            whole.succeeded,
            whole.failed,
            whole.unprocessed,
        ), "outcomes are miscounted"


LEVELS = ("WARNING", "ERROR", "SUMMARY", "DETAIL")


def a_stream(chance: random.Random, key: JobKey) -> tuple[list[JobEvent], str, bool]:
    """Events of one job in a random order; the verdict on each record; whether all events agree with it."""
    total = chance.choice([1, 2, 3, 7, 20, 100, 101, 600, 1203])
    header = a_header(total, key=key)
    verdicts = "".join(chance.choice("SSF") for _ in range(total))
    refused = {index for index in range(total) if chance.random() < 0.1}
    verdicts = "".join("F" if index in refused else letter for index, letter in enumerate(verdicts))
    early = "".join("F" if index in refused else "." for index in range(total))
    events = [opened(header, a_run(early) if refused else None)]
    events += _cuts(chance, header, verdicts)
    agree = chance.random() < 0.6
    if not agree:
        events += _cuts(chance, header, "".join(chance.choice("SF") for _ in range(total)))
        if chance.random() < 0.5:
            events.append(expired(header))
    elif chance.random() < 0.5:
        events += _cuts(chance, header, verdicts)
    events += chance.choices(events, k=chance.randrange(len(events) + 1))
    if chance.random() < 0.7:
        chance.shuffle(events)
    return events, verdicts, agree


def _cuts(chance: random.Random, header: JobHeader, verdicts: str) -> list[JobEvent]:
    """The verdicts as runs; some interleaved, as several partitions give them."""
    total = header.total
    lanes = chance.choice([1, 1, 3])
    runs = []
    for lane in range(lanes):
        mine = "".join(letter if at % lanes == lane else "." for at, letter in enumerate(verdicts))
        start = 0
        while start < total:
            end = min(total, start + chance.choice([1, 5, 50, 100, 700] if total < 200 else [100, 173, 700]))
            if mine[start:end].strip("."):
                runs.append(judged(a_run(mine[start:end], start), header, after_ms=15))
            start = end
    return runs


async def consume(
    events: Sequence[JobEvent], world: Deps, chance: random.Random, *, commits_first: bool = False
) -> None:
    """Poll by poll, each repeated until it is durable; now and then the same poll again."""
    at = 0
    while at < len(events):
        size = chance.randrange(1, 12)
        for _ in range(1 + (chance.random() < 0.1)):
            while True:
                try:
                    await apply_events(events[at : at + size], world, optimistic=chance.random() < 0.7)
                except UnavailableError:
                    if not commits_first:
                        continue
                break
        at += size


async def play(seed: int, trial: Trial) -> None:
    """One job's life. Raises `AssertionError` where a promise is broken."""
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    # Nothing depends on a job's id; a new one lets seeds be played again in one store.
    key = JobKey(608, str(uuid4()))
    events, verdicts, agree = a_stream(chance, key)
    failing = 0.4 if trial.commits_first else chance.choice([0.0, 0.0, 0.1])
    jobs = FlakyJobStore(
        trial.jobs, lambda: chance.choice(["before", "between", "after"]) if chance.random() < failing else ""
    )
    world = Deps(jobs=jobs, site_profiles=FakeSiteProfiles(), notifier=FakeNotifier(), now_us=lambda: 0)
    history, model = ReaderView(), Model(events[0].header.total)
    for event in events:
        model.apply(event)
    alone = chance.random() < 0.3
    cut = len(events) if alone else chance.randrange(len(events) + 1)
    parts = [events[:cut], events[cut:]] + ([events] if not alone and chance.random() < 0.3 else [])
    running = asyncio.gather(*(consume(part, world, chance, commits_first=trial.commits_first) for part in parts))
    await _read_while_running(running, trial, key, history, chance)
    failing = 0.0
    await history.look(trial.jobs, key)
    assert history.final is not None, "the job has not ended"
    if agree:
        assert history.letters == verdicts, "an outcome is wrong"
    if alone:
        assert (history.letters, history.late) == ("".join(model.letters), "".join(model.late)), "the first did not win"
    assert all(letter in claims for letter, claims in zip(history.letters, model.claims, strict=True)), "made up"
    before, final = jobs.writes, history.final
    await consume(chance.sample(events, len(events)) if agree else events, world, chance)
    await history.look(trial.jobs, key)
    assert history.final == final, "a replay changed the job"
    if agree:
        assert jobs.writes == before, "a replay wrote something"
    await _read_pages(trial.jobs, key, history.seen, chance)


async def _read_while_running(
    running: "asyncio.Future[list[None]]", trial: Trial, key: JobKey, history: ReaderView, chance: random.Random
) -> None:
    """Look again and again while the consumers work."""
    looks = trial.looks
    try:
        while looks and not running.done():
            looks -= 1
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            with suppress(UnavailableError):
                await history.look(trial.jobs, key)
        await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running


async def _read_pages(jobs: JobStore, key: JobKey, whole: Sequence[str], chance: random.Random) -> None:
    """Pages of any size, either way, of all events or only of faults, give every event once."""
    descending, show_all = chance.random() < 0.5, chance.random() < 0.5
    if not show_all:
        whole = [text for text in whole if '"level":"DETAIL"' not in text and '"level":"SUMMARY"' not in text]
    lap: PageRange | None = PageRange(FIRST_POSITION)
    found: list[str] = []
    standing = await jobs.find(key, ALL_EVENTS)
    assert standing is not None
    job = standing.job
    while lap is not None:
        wish = EventsRequest(
            rows=chance.choice([7, 20, 400, 900]), show_all=show_all, descending=descending, page_range=lap
        )
        needed = select_event_chunks(job, wish)
        blocks = [standing.block] if standing.block else await jobs.find_chunks(job, needed, ALL_EVENTS)
        page = build_events_page(job, blocks, wish)
        found += split_page(page)
        lap = page.next_range
    assert found == (list(reversed(whole)) if descending else list(whole)), "pages and whole differ"
