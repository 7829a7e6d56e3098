"""Any stream of events, cut, doubled, reordered, contradicted, read by two at once, failing on the way."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest

from services.chassis.errors import Away
from services.status.domain.block import Block
from services.status.domain.cursor import START, Lap
from services.status.domain.facts import JobEvent, Key
from services.status.domain.job import Job
from services.status.domain.page import Wish, chunks_for_events, events_page
from services.status.domain.report import summary_of
from services.status.domain.texts import ALL_EVENTS
from services.status.flow import World, record
from tests.status.events import JOB, a_header, a_run, expired, judged, opened
from tests.status.memory import Belfry, MemoryJobs, MemoryOrigins

SEEDS = 600


class History:
    """What a reader saw before must still be so later."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.decided = 0
        self.final: str | None = None

    async def look(self, jobs: MemoryJobs, key: Key) -> None:
        found = await jobs.find(key)
        if found is None:
            assert not self.seen, "a job vanished"
            return
        job = found.job
        blocks = [found.block] if found.block else await jobs.read_chunks(job, range(len(job.chunks)), ALL_EVENTS)
        texts = list(events_page(job, blocks, Wish(rows=100_000, show_all=True)).texts)
        assert texts[: len(self.seen)] == self.seen, "what was shown has changed"
        assert job.whole.decided >= self.decided, "a count went down"
        _counts_agree(job, blocks, texts)
        if self.final is not None:
            assert str(summary_of(job)) == self.final, "an ended job changed"
        self.seen, self.decided = texts, job.whole.decided
        self.final = str(summary_of(job)) if job.is_terminal else None


def _counts_agree(job: Job, blocks: Sequence[Block], texts: Sequence[str]) -> None:
    whole = job.whole
    assert sum(summary_of(job, show_all=True).get(level, 0) for level in LEVELS) == len(texts), "events are miscounted"
    if job.is_terminal:
        letters = "".join(block.letters for block in sorted(blocks, key=lambda block: block.first))
        assert (letters.count("S"), letters.count("F"), letters.count("U")) == (
            whole.succeeded,
            whole.failed,
            whole.unprocessed,
        ), "outcomes are miscounted"


LEVELS = ("WARNING", "ERROR", "SUMMARY", "DETAIL")


def a_stream(chance: random.Random) -> tuple[list[JobEvent], str, bool]:
    """Events of one job in a random order; the verdict on each record; whether all events agree with it."""
    total = chance.choice([1, 2, 3, 7, 20, 100, 101, 600, 1203])
    header = a_header(total)
    verdicts = "".join(chance.choice("SSF") for _ in range(total))
    refused = {index for index in range(total) if chance.random() < 0.1}
    verdicts = "".join("F" if index in refused else letter for index, letter in enumerate(verdicts))
    early = "".join("F" if index in refused else "." for index in range(total))
    events = [opened(header, a_run(early) if refused else None)]
    events += _cuts(chance, header.total, verdicts)
    agree = chance.random() < 0.6
    if not agree:
        events += _cuts(chance, total, "".join(chance.choice("SF") for _ in range(total)))
        if chance.random() < 0.5:
            events.append(expired(header))
    elif chance.random() < 0.5:
        events += _cuts(chance, total, verdicts)
    events += chance.choices(events, k=chance.randrange(len(events) + 1))
    if chance.random() < 0.7:
        chance.shuffle(events)
    return events, verdicts, agree


def _cuts(chance: random.Random, total: int, verdicts: str) -> list[JobEvent]:
    """The verdicts as runs; some interleaved, as several partitions give them."""
    lanes = chance.choice([1, 1, 3])
    runs = []
    for lane in range(lanes):
        mine = "".join(letter if at % lanes == lane else "." for at, letter in enumerate(verdicts))
        start = 0
        while start < total:
            end = min(total, start + chance.choice([1, 5, 50, 100, 700] if total < 200 else [100, 173, 700]))
            if mine[start:end].strip("."):
                runs.append(judged(a_run(mine[start:end], start), a_header(total), after_ms=15))
            start = end
    return runs


async def consume(events: Sequence[JobEvent], world: World, chance: random.Random) -> None:
    """Poll by poll, each repeated until it is durable; now and then the same poll again."""
    at = 0
    while at < len(events):
        size = chance.randrange(1, 12)
        for _ in range(1 + (chance.random() < 0.1)):
            while True:
                try:
                    await record(events[at : at + size], world)
                except Away:
                    continue
                break
        at += size


async def play(seed: int, *, guarded: bool = True) -> None:
    chance = random.Random(seed)  # noqa: S311 - it has to be repeatable
    events, verdicts, agree = a_stream(chance)
    failing = chance.choice([0.0, 0.0, 0.1])
    jobs = MemoryJobs(
        turns=lambda: chance.randrange(3),
        fails=lambda: chance.choice(["before", "after"]) if chance.random() < failing else "",
        guarded=guarded,
    )
    world = World(jobs=jobs, origins=MemoryOrigins(), bell=Belfry(), now_us=lambda: 0)
    history = History()
    cut = chance.randrange(len(events) + 1)
    readers = [consume(events[:cut], world, chance), consume(events[cut:], world, chance)]
    if chance.random() < 0.3:
        readers.append(consume(events, world, chance))
    running = asyncio.gather(*readers)
    await _watched(running, jobs, history, chance)
    failing = 0.0
    await history.look(jobs, JOB)
    assert history.final is not None, "the job has not ended"
    if agree:
        assert _letters(history.seen[:-1]) == verdicts, "an outcome is wrong"
    await _nothing_new(events, world, jobs, chance)
    await history.look(jobs, JOB)
    await _walk(jobs, history.seen, chance)


async def _watched(
    running: "asyncio.Future[list[None]]", jobs: MemoryJobs, history: History, chance: random.Random
) -> None:
    """Look again and again while the consumers work."""
    try:
        while not running.done():
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            with suppress(Away):
                await history.look(jobs, JOB)
        await running
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await running


def _letters(texts: Sequence[str]) -> str:
    return "".join("S" if '"level":"DETAIL"' in text else "F" for text in texts)


async def _nothing_new(events: Sequence[JobEvent], world: World, jobs: MemoryJobs, chance: random.Random) -> None:
    before = jobs.writes
    await consume(chance.sample(events, len(events)), world, chance)
    assert jobs.writes == before, "a replay wrote something"


async def _walk(jobs: MemoryJobs, whole: Sequence[str], chance: random.Random) -> None:
    """Pages of any size, either way, give every event once."""
    descending = chance.random() < 0.5
    lap: Lap | None = Lap(START)
    found: list[str] = []
    standing = await jobs.find(JOB)
    assert standing is not None
    job = standing.job
    while lap is not None:
        wish = Wish(rows=chance.randrange(1, 400), show_all=True, descending=descending, lap=lap)
        needed = chunks_for_events(job, wish)
        blocks = [standing.block] if standing.block else await jobs.read_chunks(job, needed, ALL_EVENTS)
        page = events_page(job, blocks, wish)
        found += page.texts
        lap = page.rest
    assert found == (list(reversed(whole)) if descending else list(whole)), "pages and whole differ"


@pytest.mark.parametrize("batch", range(10))
async def test_whatever_comes_jobs_only_grow_and_every_event_is_shown_once(batch: int) -> None:
    """I1, I4, I9 for the job model; the seed is in the message of a failure."""
    for seed in range(batch * SEEDS // 10, (batch + 1) * SEEDS // 10):
        try:
            await asyncio.wait_for(play(seed), 30)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {error}") from error


async def test_the_fuzz_notices_writes_that_do_not_look_first() -> None:
    """A planted bug: the guards are gone."""
    caught = 0
    for seed in range(40):
        try:
            await asyncio.wait_for(play(seed, guarded=False), 30)
        except (AssertionError, ValueError):
            caught += 1
    assert caught > 10
