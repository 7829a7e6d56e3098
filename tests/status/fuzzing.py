"""Random streams of events: cut, duplicated, reordered, contradictory, consumed by two at once, with failures.

A seed is one job and everything that happens to it. The expected result comes from a model that fits on a page: an
outcome for each record, and the first one wins.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import msgspec

from services.chassis.runtime.errors import UnavailableError
from services.jobs.events import Expired, JobEvent, JobHeader, JobKey, Judged, Opened
from services.status.domain.block import ALL_EVENTS, NO_PROJECTION, Block, Projection
from services.status.domain.job import ChunkChange, Job, JobChange, StoredJob
from services.status.domain.page import EventsRequest, select_event_chunks
from services.status.domain.page_range import FIRST_POSITION, PageRange
from services.status.domain.summary import build_summary
from services.status.domain.updates import UNPROCESSED
from services.status.flows.apply_events import Deps, apply_events
from services.status.ports import JobReader, JobWriter
from tests.jobs.events import a_header, a_run, expired, judged, opened
from tests.status.builders import build_events_page, split_page
from tests.status.fakes import FakeFinishedPublisher, FakeNotifier, FakeSiteProfiles


class JobStore(JobWriter, JobReader, Protocol):
    """A store for writers and readers."""


@dataclass
class Trial:
    """How a seed is run: on `jobs`, read `reads` times meanwhile.

    `commits_first` plants a bug: a failed poll is not repeated, because its offsets were committed before.
    """

    jobs: JobStore
    reads: int
    commits_first: bool = False


Failing = Callable[[], str]


class FlakyJobStore:
    """Delegates to a store, counts its writes; `fails` returns how an operation fails: "", before, between or after."""

    def __init__(self, jobs: JobStore, fails: Failing) -> None:
        self._jobs = jobs
        self._fails = fails
        self.writes = 0
        self.find = jobs.find
        self.list_jobs = jobs.list_jobs
        self.iterate_chunks = jobs.iterate_chunks

    async def load(self, keys: Sequence[JobKey]) -> dict[JobKey, StoredJob]:
        self._fail()
        return await self._jobs.load(keys)

    async def find_chunks(
        self, job: Job, numbers: Sequence[int], projection: Projection = NO_PROJECTION
    ) -> list[Block]:
        self._fail()
        return await self._jobs.find_chunks(job, numbers, projection)

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
    """The expected result: the first outcome of a record is its outcome, whatever comes later."""

    def __init__(self, total: int) -> None:
        self.outcomes, self.late = ["."] * total, ["."] * total
        self.claims: list[set[str]] = [set() for _ in range(total)]

    def apply(self, event: JobEvent) -> None:
        match event.fact:
            case Expired():
                for index in range(len(self.outcomes)):
                    self._claim(index, UNPROCESSED)
            case Judged(run=run) | Opened(refused=run):
                for at, outcome in enumerate(run.outcomes if run is not None else ""):
                    if run is not None and outcome != ".":
                        self._claim(run.first + at, outcome)

    def _claim(self, index: int, outcome: str) -> None:
        self.claims[index].add(outcome)
        if self.outcomes[index] == ".":
            self.outcomes[index] = outcome
        elif self.outcomes[index] == UNPROCESSED and self.late[index] == "." and outcome != UNPROCESSED:
            self.late[index] = outcome


class ReaderView:
    """Everything that a reader has seen of a job, which must not change later."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.decided = 0
        self.final: bytes | None = None
        self.outcomes = ""
        self.late = ""

    async def read(self, jobs: JobStore, key: JobKey) -> None:
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
            assert msgspec.json.encode(build_summary(job, rows=1)) == self.final, "an ended job changed"
        blocks = sorted(blocks, key=lambda block: block.first)
        self.outcomes, self.late = "".join(b.outcomes for b in blocks), "".join(b.late_outcomes for b in blocks)
        self.seen, self.decided = texts, job.tally.decided_count
        self.final = msgspec.json.encode(build_summary(job, rows=1)) if job.is_terminal else None


def _counts_agree(job: Job, blocks: Sequence[Block], texts: Sequence[str]) -> None:
    whole = job.tally
    assert sum(build_summary(job, show_all=True).get(level, 0) for level in LEVELS) == len(texts), (
        "events are miscounted"
    )
    if job.is_terminal:
        outcomes = "".join(block.outcomes for block in sorted(blocks, key=lambda block: block.first))
        assert (outcomes.count("S"), outcomes.count("F"), outcomes.count("U")) == (
            whole.succeeded,
            whole.failed,
            whole.unprocessed,
        ), "outcomes are miscounted"


LEVELS = ("WARNING", "ERROR", "SUMMARY", "DETAIL")


def a_stream(rng: random.Random, key: JobKey) -> tuple[list[JobEvent], str, bool]:
    """Events of one job in random order, the verdict on each record, and whether all events agree with it."""
    total = rng.choice([1, 2, 3, 7, 20, 100, 101, 600, 1203])
    header = a_header(total, key=key)
    verdicts = "".join(rng.choice("SSF") for _ in range(total))
    refused = {index for index in range(total) if rng.random() < 0.1}
    verdicts = "".join("F" if index in refused else outcome for index, outcome in enumerate(verdicts))
    early = "".join("F" if index in refused else "." for index in range(total))
    events = [opened(header, a_run(early) if refused else None)]
    events += _cuts(rng, header, verdicts)
    agree = rng.random() < 0.6
    if not agree:
        events += _cuts(rng, header, "".join(rng.choice("SF") for _ in range(total)))
        if rng.random() < 0.5:
            events.append(expired(header))
    elif rng.random() < 0.5:
        events += _cuts(rng, header, verdicts)
    events += rng.choices(events, k=rng.randrange(len(events) + 1))
    if rng.random() < 0.7:
        rng.shuffle(events)
    return events, verdicts, agree


def _cuts(rng: random.Random, header: JobHeader, verdicts: str) -> list[JobEvent]:
    """Cut the verdicts into runs; some are interleaved, as those of several partitions are."""
    total = header.total
    lanes = rng.choice([1, 1, 3])
    runs = []
    for lane in range(lanes):
        mine = "".join(outcome if at % lanes == lane else "." for at, outcome in enumerate(verdicts))
        start = 0
        while start < total:
            end = min(total, start + rng.choice([1, 5, 50, 100, 700] if total < 200 else [100, 173, 700]))
            if mine[start:end].strip("."):
                runs.append(judged(a_run(mine[start:end], start), header, after_ms=15))
            start = end
    return runs


async def consume(events: Sequence[JobEvent], deps: Deps, rng: random.Random, *, commits_first: bool = False) -> None:
    """Apply poll by poll, each repeated until it is durable; sometimes the same poll again."""
    at = 0
    while at < len(events):
        size = rng.randrange(1, 12)
        for _ in range(1 + (rng.random() < 0.1)):
            while True:
                try:
                    await apply_events(events[at : at + size], deps, optimistic=rng.random() < 0.7)
                except UnavailableError:
                    if not commits_first:
                        continue
                break
        at += size


async def play(seed: int, trial: Trial) -> None:
    """Run one seed; raises `AssertionError` when a guarantee is broken."""
    rng = random.Random(seed)  # noqa: S311 - it has to be repeatable
    # Nothing depends on a job's id; a new one allows the same seed twice in one store.
    key = JobKey(608, str(uuid4()))
    events, verdicts, agree = a_stream(rng, key)
    failing = 0.4 if trial.commits_first else rng.choice([0.0, 0.0, 0.1])
    jobs = FlakyJobStore(
        trial.jobs, lambda: rng.choice(["before", "between", "after"]) if rng.random() < failing else ""
    )
    deps = Deps(
        jobs=jobs,
        site_profiles=FakeSiteProfiles(),
        notifier=FakeNotifier(),
        finished=FakeFinishedPublisher(),
        now_us=lambda: 0,
    )
    view, model = ReaderView(), Model(events[0].header.total)
    for event in events:
        model.apply(event)
    alone = rng.random() < 0.3
    cut = len(events) if alone else rng.randrange(len(events) + 1)
    parts = [events[:cut], events[cut:]] + ([events] if not alone and rng.random() < 0.3 else [])
    running = asyncio.gather(*(consume(part, deps, rng, commits_first=trial.commits_first) for part in parts))
    await _read_while_running(running, trial, key, view, rng)
    failing = 0.0
    await view.read(trial.jobs, key)
    assert view.final is not None, "the job has not ended"
    if agree:
        assert view.outcomes == verdicts, "an outcome is wrong"
    if alone:
        assert (view.outcomes, view.late) == ("".join(model.outcomes), "".join(model.late)), "the first did not win"
    assert all(outcome in claims for outcome, claims in zip(view.outcomes, model.claims, strict=True)), "made up"
    before, final = jobs.writes, view.final
    await consume(rng.sample(events, len(events)) if agree else events, deps, rng)
    await view.read(trial.jobs, key)
    assert view.final == final, "a replay changed the job"
    if agree:
        assert jobs.writes == before, "a replay wrote something"
    await _read_pages(trial.jobs, key, view.seen, rng)


async def _read_while_running(
    running: "asyncio.Future[list[None]]", trial: Trial, key: JobKey, view: ReaderView, rng: random.Random
) -> None:
    """Read repeatedly while the consumers run."""
    looks = trial.reads
    try:
        while looks and not running.done():
            looks -= 1
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            with suppress(UnavailableError):
                await view.read(trial.jobs, key)
        await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running


async def _read_pages(jobs: JobStore, key: JobKey, whole: Sequence[str], rng: random.Random) -> None:
    """Assert that pages of any size, in either direction, of all events or faults, have every event once."""
    descending, show_all = rng.random() < 0.5, rng.random() < 0.5
    if not show_all:
        whole = [text for text in whole if '"level":"DETAIL"' not in text and '"level":"SUMMARY"' not in text]
    page_range: PageRange | None = PageRange(FIRST_POSITION)
    found: list[str] = []
    stored = await jobs.find(key, ALL_EVENTS)
    assert stored is not None
    job = stored.job
    while page_range is not None:
        request = EventsRequest(
            rows=rng.choice([7, 20, 400, 900]), show_all=show_all, descending=descending, page_range=page_range
        )
        needed = select_event_chunks(job, request)
        blocks = [stored.block] if stored.block else await jobs.find_chunks(job, needed, ALL_EVENTS)
        page = build_events_page(job, blocks, request)
        found += split_page(page)
        page_range = page.next_range
    assert found == (list(reversed(whole)) if descending else list(whole)), "pages and whole differ"
