"""The job model: outcomes, blocks, chunks, states, ids, events."""

import json
import re
from functools import lru_cache
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from services.jobs.events import Fault, JobEvent, JobKey, OutcomeRun
from services.status.domain import event as event_module
from services.status.domain.block import (
    build_block,
    claim,
    claim_late,
    decided_prefix,
    empty_block,
    find_indexes,
    merge_runs,
    overlay,
)
from services.status.domain.chunks import (
    CHUNK_SIZE,
    Tally,
    build_tally,
    chunk_count,
    chunk_size,
    clip_runs,
    is_large,
    split_by_chunk,
    split_run,
)
from services.status.domain.event import EventTemplate, render_failures
from services.status.domain.job import Job, JobState, StoredJob, apply_update, new_job
from services.status.domain.page import EventsRequest, select_event_chunks
from services.status.domain.page_range import FIRST_POSITION, PageRange, Position, ResolvedRange, next_page_range
from services.status.domain.rows import UNKNOWN_IDS, OrderRow, RecordIds, ReturnRow, parse_rows, slice_rows
from services.status.domain.summary import build_summary, format_duration, job_name, job_status, render_job
from services.status.domain.timeline import render_block_events
from services.status.domain.updates import TimedRun, group_by_job
from tests.jobs.events import CREATED_US, JOB, a_failure, a_header, a_run, expired, judged, no_product, opened
from tests.status.builders import a_profile, build_events_page, split_page


def after(*events: JobEvent, total: int = 2) -> StoredJob:
    """A small job after these events, one write each."""
    stored = new_job(a_profile(total))
    for event in events:
        (update,) = group_by_job([event]).values()
        change = apply_update(stored, update)
        if change is not None:
            assert stored.block is not None
            entries = (*stored.block.runs, *change.added_runs)
            block = build_block(0, 0, total, entries)
            stored = StoredJob(change.job, block)
    return stored


@pytest.mark.parametrize(
    ("outcomes", "at", "claimed", "won"),
    [
        ("....", 0, "SF", "SF"),
        ("S...", 0, "FF", ".F"),
        ("SF..", 0, "FS", ".."),
        ("..S.", 1, "FFF", "F.F"),
        ("U...", 0, "SS", ".S"),
        ("....", 2, "..", ".."),
    ],
)
def test_the_first_outcome_wins(outcomes: str, at: int, claimed: str, won: str) -> None:
    assert claim(outcomes, at, claimed) == won


@pytest.mark.parametrize(
    ("outcomes", "late", "claimed", "won"),
    [
        ("UUS", "...", "SSS", "SS."),
        ("UU.", "F..", "SSS", ".S."),
        ("S..", "...", "FFF", "..."),
        ("U..", "...", "U..", "..."),
    ],
)
def test_an_outcome_is_late_for_a_record_that_was_given_up(outcomes: str, late: str, claimed: str, won: str) -> None:
    assert claim_late(outcomes, late, 0, claimed) == won


def test_outcomes_are_laid_over_each_other() -> None:
    assert overlay("S...F", 1, "F.S") == "SF.SF"
    assert overlay("S.S.", 0, "...F") == "S.SF"
    assert [decided_prefix(outcomes) for outcomes in ("", ".S", "S.S", "SFU")] == [0, 0, 1, 3]
    assert list(find_indexes("SFSFF", "F")) == [1, 3, 4]


def test_a_run_is_cut_at_the_borders_of_chunks() -> None:
    run = a_run("SF" * 300, 450)
    parts = dict(split_run(run, CHUNK_SIZE, 1_000))
    assert {number: (part.first, len(part.outcomes)) for number, part in parts.items()} == {0: (450, 50), 1: (500, 500)}
    assert "".join(part.outcomes for part in parts.values()) == run.outcomes[:550]
    assert json.loads(parts[1].rows)[0] == ["o500", "u500"]
    assert parts[1].failures[0].index == 501
    assert len(parts[0].failures) + len(parts[1].failures) == 275


@pytest.mark.parametrize(
    ("first", "outcomes", "kept"), [(0, "SSS", "SS"), (1, "FF", "F"), (2, "S", None), (9, "S", None)]
)
def test_what_lies_beyond_the_total_is_left_out(first: int, outcomes: str, kept: str | None) -> None:
    found = clip_runs([TimedRun(0, a_run(outcomes, first))], 2)
    assert [dated.run.outcomes for dated in found] == ([kept] if kept else [])
    assert split_by_chunk([TimedRun(0, a_run("S", 600))], 600) == {}


def test_the_total_decides_the_layout() -> None:
    assert [is_large(total) for total in (1, 100, 101)] == [False, False, True]
    assert [(chunk_count(total), chunk_size(chunk_count(total) - 1, total)) for total in (101, 500, 501)] == [
        (1, 101),
        (1, 500),
        (2, 1),
    ]


@pytest.mark.parametrize(
    ("outcomes", "state", "printed"),
    [
        ("...", JobState.RECEIVED, "PROCESSING"),
        ("S..", JobState.VALIDATING, "PROCESSING"),
        ("F..", JobState.VALIDATING, "PROCESSING_WITH_WARNING"),
        ("FF.", JobState.VALIDATING, "PROCESSING_WITH_WARNING"),
        ("SSS", JobState.COMPLETED, "PROCESSING"),
        ("SSF", JobState.COMPLETED_WITH_WARNING, "PROCESSING_WITH_WARNING"),
        ("FFF", JobState.FAILED, "FAILED"),
    ],
)
def test_states_and_printed_statuses(outcomes: str, state: JobState, printed: str) -> None:
    job = after(opened(a_header(3)), judged(a_run(outcomes), a_header(3)), total=3).job
    assert (job.state, job_status(job), job.is_terminal) == (state, printed, "." not in outcomes)


@pytest.mark.parametrize(
    ("outcomes", "printed"), [("S..", "PROCESSING_WITH_WARNING"), ("...", "FAILED"), ("F..", "FAILED")]
)
def test_an_expired_job_has_ended(outcomes: str, printed: str) -> None:
    header = a_header(3)
    job = after(judged(a_run(outcomes), header), expired(header), total=3).job
    assert (job.state, job.is_terminal, job_status(job)) == (JobState.EXPIRED, True, printed)
    assert after(judged(a_run("SSF"), header), expired(header), total=3).job.state == JobState.COMPLETED_WITH_WARNING


def test_a_job_is_the_same_whatever_came_first() -> None:
    one, two = opened(refused=a_run("F.")), judged(a_run("S", 1))
    forwards, backwards = after(one, two), after(two, one)
    assert forwards.job == backwards.job
    assert forwards.block is not None
    assert backwards.block is not None
    assert forwards.block.outcomes == backwards.block.outcomes


@pytest.mark.parametrize("again", [judged(a_run("SF")), judged(a_run("FS")), judged(a_run("F")), opened(), expired()])
def test_what_is_known_changes_nothing(again: JobEvent) -> None:
    stored = after(opened(), judged(a_run("SF")))
    (update,) = group_by_job([again]).values()
    assert apply_update(stored, update) is None


def test_what_is_remembered_of_a_summary_holds_no_tallies_of_chunks() -> None:
    """Those of a large job take 40 KB: who follows a few of them to their ends would fill the memory with versions."""
    whole = Tally(0, 900, 0, 0, 900, 900, 0, 0, 0, 9)
    job = Job(a_profile(1_000, key=JobKey(608, str(uuid4()))), 2, 2, whole, (Tally(1, 500), Tally(1, 400)))
    before = render_job.cache_info().currsize
    assert build_summary(job) == build_summary(replace(job, chunk_tallies=()))
    assert build_summary(replace(job, chunk_tallies=job.chunk_tallies[::-1])) == build_summary(job)
    assert render_job.cache_info().currsize == before + 1


def test_times_come_from_the_outcomes_that_count() -> None:
    assert after(opened(after_ms=99)).job.last_us == CREATED_US
    stored = after(
        opened(), judged(a_run("S"), after_ms=20), judged(a_run("SF"), after_ms=10), judged(a_run("FF"), after_ms=50)
    )
    assert stored.job.last_us == CREATED_US + 20_000
    assert job_name(stored.job) == "Total records = 2. Success = 1. Failed = 1"


@pytest.mark.parametrize(
    ("span_us", "text"), [(0, "00:00:00"), (-5, "00:00:00"), (59_999_999, "00:00:59"), (360_000_000_000, "100:00:00")]
)
def test_durations(span_us: int, text: str) -> None:
    assert format_duration(span_us) == text


def test_ids_are_uuids_and_no_two_are_the_same() -> None:
    frame = EventTemplate(a_profile(), CREATED_US)
    positions = [(index, fault) for index in (0, 1, 99_999, 100_000) for fault in range(20)]
    events = [json.loads(frame.render(*position, '"message"', "ERROR", "")) for position in positions]
    made = {event[name] for event in events for name in ("taskId", "statusId")} | {JOB.job_id}
    assert len(made) == 82
    assert all(str(UUID(text)) == text and text[:24] == JOB.job_id[:24] for text in made)


def test_each_distinct_fault_is_an_event_of_its_own_up_to_twenty() -> None:
    faults = [no_product(f"p{number}") for number in range(25)]
    stored = after(judged(a_run("SF", failures=[a_failure(1, *faults)])))
    assert stored.block is not None
    placed = render_block_events(
        stored.block, a_profile(), ResolvedRange(FIRST_POSITION, Position(2, 0)), show_all=False
    )
    assert [position for position, _ in placed] == [Position(1, fault) for fault in range(20)]
    assert len({json.loads(text)["statusId"] for _, text in placed}) == 20
    assert stored.job.tally.warnings == 20
    assert json.loads(placed[7][1])["message"] == "No product is found for product ID p7"


def test_failures_with_the_same_faults_are_told_like_any_other() -> None:
    """Whether two failures share their list of faults is nothing that a reader could see."""
    one, other, two = [no_product("p1")], [no_product("p3")], [no_product("p1"), no_product("p2")]
    faults = [one, one, other, two, two, one, other]
    together = [replace(a_failure(at), faults=some) for at, some in enumerate(faults)]
    rendered = render_failures(together, CREATED_US, a_profile())
    alone = [render_failures([failure], CREATED_US, a_profile()) for failure in together]
    assert rendered.levels == ",".join(each.levels for each in alone)
    assert rendered.events == ",\n".join(each.events for each in alone)
    assert rendered.details == "\n".join(each.details for each in alone)
    events = [json.loads(text)["attributes"] for text in re.split(",[\n\t]", rendered.events)]
    assert [f"{event['orderId']} {event['index']} {event['productId']}" for event in events] == [
        "o0 0 p1", "o1 1 p1", "o2 2 p3", "o3 3 p1", "o3 3 p2", "o4 4 p1", "o4 4 p2", "o5 5 p1", "o6 6 p3",
    ]  # fmt: skip


@pytest.mark.parametrize("changed", ["code", "field", "message", "level", "product_id", "retryable"])
def test_faults_that_differ_in_anything_are_told_apart(changed: str) -> None:
    """Faults that have been rendered before are not rendered again, whichever job they are of."""
    fault, texts = no_product("p1"), set()
    other = replace(fault, **{changed: {"level": "ERROR", "retryable": True}.get(changed, "x")})
    for _ in range(2):
        for each in (fault, other):
            rendered = render_failures([a_failure(0, each)], CREATED_US, a_profile())
            texts.add((rendered.events, rendered.details))
            assert rendered.levels == each.level[0]
            event, details = json.loads(rendered.events), json.loads(f"{{{rendered.details}}}")["faults"][0]
            shown = event["attributes"]
            assert (shown["code"], shown["field"], shown["productId"]) == (each.code, each.field, each.product_id)
            assert (event["message"], event["level"]) == (each.message, each.level)
            assert (details["message"], details["retryable"]) == (each.message, each.retryable)
    assert len(texts) == 2


def test_long_faults_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """I8: what a producer writes as a message of its fault may have megabytes."""
    cached = lru_cache(event_module._render_fault)
    monkeypatch.setattr(event_module, "_render_cached_fault", cached)
    short, long = no_product("p1"), replace(no_product("p1"), message="x" * event_module.MAX_CACHED_CHARS)
    for fault in (short, long, short):
        rendered = render_failures([a_failure(0, fault)], CREATED_US, a_profile())
        assert json.loads(rendered.events)["message"] == fault.message
    assert cached.cache_info().currsize == 1


def test_an_event_has_the_printed_keys_in_their_order() -> None:
    fault = Fault("INVALID_VALUE", "/id", "bad \u2028 id", "WARNING", None, retryable=False)
    event = json.loads(render_failures([a_failure(3, fault, order_id=None)], CREATED_US, a_profile()).events)
    assert list(event) == [
        "taskId", "statusId", "batch", "type", "message", "level", "attributes", "source", "datacenter", "timestamp",
    ]  # fmt: skip
    assert event["attributes"] == {
        "mode": "offline", "type": "orders", "index": 3, "code": "INVALID_VALUE", "field": "/id",
    }  # fmt: skip
    assert (event["source"], event["message"]) == ("omnichannel-api", "bad \u2028 id")


@pytest.mark.parametrize("record", ['{"a":\n 1}', '{"a":\r1}', "not json", '{"a":', "[" * 5000, '"\\u0000"'])
def test_whatever_record_is_told_the_answer_is_json_on_one_line(record: str) -> None:
    failure = type(a_failure(0))(0, "o", None, "offline", [no_product()], record)
    (block, (entry,)) = merge_runs(empty_block(0, 0, 1), [TimedRun(0, OutcomeRun(0, "F", "", [failure]))], a_profile(1))
    assert len(entry.details.splitlines()) == 1
    assert block.outcomes == "F"
    json.loads("{" + entry.details + "}")


@pytest.mark.parametrize(
    ("rows", "of", "expected"),
    [
        ('[["1","u"],null]', "orders", [OrderRow("1", "u"), UNKNOWN_IDS]),
        ('[["1","u","online"]]', "orders", [OrderRow("1", "u", "online"), UNKNOWN_IDS]),
        (
            '[["1","r","u"],["2","s","v","online"]]',
            "returns",
            [ReturnRow("1", "r", "u"), ReturnRow("2", "s", "v", "online")],
        ),
        ("", "orders", [UNKNOWN_IDS, UNKNOWN_IDS]),
        ("[[1]]", "orders", [UNKNOWN_IDS, UNKNOWN_IDS]),
        ('[["1","u"],null,["3","w"]]', "orders", [OrderRow("1", "u"), UNKNOWN_IDS]),
    ],
)
def test_rows_are_read_with_patience(rows: str, of: str, expected: list[RecordIds]) -> None:
    assert parse_rows(rows, 2, job_type=of) == expected


@pytest.mark.parametrize("mode", ["online", 'on"line', "\\", "on\nline"])
def test_whatever_mode_a_row_has_its_event_is_json(mode: str) -> None:
    run = OutcomeRun(0, "SS", json.dumps([["1", "u", mode], ["2", "v"]]))
    stored = after(judged(run))
    assert stored.block is not None
    page = build_events_page(stored.job, [stored.block], EventsRequest(5, show_all=True))
    assert [json.loads(text)["attributes"]["mode"] for text in split_page(page)] == [mode, "offline", "offline"]


def test_rows_are_cut() -> None:
    assert slice_rows('[["1","u"],null,["3","w"]]', 1, 3) == '[null,["3","w"]]'
    assert slice_rows("nonsense", 0, 1) == slice_rows("", 0, 1) == ""


def test_a_tally_speaks_of_the_prefix() -> None:
    block, _ = merge_runs(empty_block(0, 0, 6), [TimedRun(5, a_run("SF")), TimedRun(7, a_run("FS", 3))], a_profile(6))
    shown = build_tally(block)
    assert (shown.succeeded, shown.failed, shown.prefix, shown.warnings, shown.last_us) == (2, 2, 2, 1, 7)


def a_page(stored: StoredJob, request: EventsRequest) -> tuple[list[int], PageRange | None]:
    assert stored.block is not None
    page = build_events_page(stored.job, [stored.block], request)
    return [json.loads(text)["attributes"].get("index", -1) for text in split_page(page)], page.next_range


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("cuts", [[("FSFFS", 0)], [("FSF", 0), ("FS", 3)], [("F.F..", 0), (".S.FS", 0)]], ids=str)
def test_pages_of_any_size_hold_the_same_events(cuts: list[tuple[str, int]], rows: int) -> None:
    """Whether a page takes all of a block as it is stored, or a part of it; whether its runs are interleaved or not."""
    runs = [a_run(outcomes, first) for outcomes, first in cuts]
    doubled = [a_failure(failure.index, no_product("p1"), no_product("p2")) for failure in runs[0].failures]
    runs[0] = OutcomeRun(runs[0].first, runs[0].outcomes, runs[0].rows, doubled)
    stored = after(*(judged(run) for run in runs), total=5)
    found, page_range = [], EventsRequest(rows).page_range
    while True:
        page, rest = a_page(stored, EventsRequest(rows, page_range=page_range))
        found += page
        if rest is None:
            break
        assert len(page) == rows
        page_range = rest
    assert sorted(found) == found
    assert (set(found), len(found)) == ({0, 2, 3}, stored.job.tally.warnings)


def test_reading_backwards_shows_later_what_came_later() -> None:
    """Every event once, the last first, and null only when the job has ended."""
    header = a_header(5)
    early = after(judged(a_run("FFF"), header), total=5)
    first, rest = a_page(early, EventsRequest(2, descending=True))
    assert (first, rest) == ([2, 1], PageRange(FIRST_POSITION, Position(0, 1), Position(3, 0)))
    assert rest is not None
    begun_early = rest
    second, rest = a_page(early, EventsRequest(2, descending=True, page_range=rest))
    assert (second, rest) == ([0], PageRange(Position(3, 0)))
    assert rest is not None
    late = after(judged(a_run("FFF"), header), judged(a_run("FF", 3), header), total=5)
    assert a_page(late, EventsRequest(2, descending=True, page_range=begun_early)) == (second, rest), (
        "it ended on the way"
    )
    third, rest = a_page(late, EventsRequest(2, descending=True, page_range=rest))
    assert (third, rest) == ([4, 3], None)


def test_a_running_jobs_last_page_goes_on_at_the_end_of_the_prefix() -> None:
    running = after(judged(a_run("SF", 0), a_header(3)), total=3).job
    assert next_page_range(PageRange(FIRST_POSITION), running, next_position=None, descending=False) == PageRange(
        Position(2, 0)
    )
    assert next_page_range(
        PageRange(FIRST_POSITION), running, next_position=Position(1, 0), descending=False
    ) == PageRange(Position(1, 0))


def test_a_page_needs_few_chunks_wherever_it_is() -> None:
    """Page N costs what page 1 costs."""
    total = 100_000
    chunk = Tally(1, 400, 100, 0, 500, 400, 0, 100, 0, 9)
    whole = Tally(0, 80_000, 20_000, 0, total, 80_000, 0, 20_000, 0, 9)
    job = Job(a_profile(total, key=JobKey(608, JOB.job_id)), 9, 9, whole, (chunk,) * 200)
    for index in (0, 40_123, 70_000):
        assert len(select_event_chunks(job, EventsRequest(5_000, page_range=PageRange(Position(index, 0))))) == 52
        assert (
            len(select_event_chunks(job, EventsRequest(5_000, show_all=True, page_range=PageRange(Position(index, 0)))))
            == 12
        )
    assert select_event_chunks(job, EventsRequest(10, descending=True)) == [199, 198]
