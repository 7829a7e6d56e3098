"""The job model: letters, blocks, chunks, states, ids, events."""

import json
import re
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from services.status.domain.block import absorb, block_of, empty_block
from services.status.domain.chunks import SIZE, Tally, by_chunk, clipped, count_of, is_large, size_of, split, tally
from services.status.domain.cursor import START, Lap, Position, Span, lap_after
from services.status.domain.event import told_of
from services.status.domain.facts import Fault, JobEvent, Key, Run
from services.status.domain.frame import Frame
from services.status.domain.instants import duration
from services.status.domain.job import Job, Standing, State, advanced, begun
from services.status.domain.letters import claim, claim_late, overlaid, places, prefix
from services.status.domain.page import Wish, chunks_for_events, events_page
from services.status.domain.rows import UNKNOWN, OrderRow, ReturnRow, Who, cut_rows, read_rows
from services.status.domain.summary import job_json, job_status, name_of, summary_of
from services.status.domain.timeline import events_in
from services.status.domain.updates import Dated, fold
from tests.status.events import (
    CREATED_US,
    JOB,
    a_failure,
    a_header,
    a_profile,
    a_run,
    expired,
    judged,
    no_product,
    opened,
    texts_of,
)


def after(*events: JobEvent, total: int = 2) -> Standing:
    """A small job after these events, one write each."""
    standing = begun(a_profile(total))
    for event in events:
        (news,) = fold([event]).values()
        change = advanced(standing, news)
        if change is not None:
            assert standing.block is not None
            entries = (*standing.block.entries, *change.added)
            block = block_of(0, 0, total, version=change.job.version, entries=entries)
            standing = Standing(change.job, block)
    return standing


@pytest.mark.parametrize(
    ("letters", "at", "wanted", "won"),
    [
        ("....", 0, "SF", "SF"),
        ("S...", 0, "FF", ".F"),
        ("SF..", 0, "FS", ".."),
        ("..S.", 1, "FFF", "F.F"),
        ("U...", 0, "SS", ".S"),
        ("....", 2, "..", ".."),
    ],
)
def test_the_first_outcome_wins(letters: str, at: int, wanted: str, won: str) -> None:
    assert claim(letters, at, wanted) == won


@pytest.mark.parametrize(
    ("letters", "late", "wanted", "won"),
    [
        ("UUS", "...", "SSS", "SS."),
        ("UU.", "F..", "SSS", ".S."),
        ("S..", "...", "FFF", "..."),
        ("U..", "...", "U..", "..."),
    ],
)
def test_an_outcome_is_late_for_a_record_that_was_given_up(letters: str, late: str, wanted: str, won: str) -> None:
    assert claim_late(letters, late, 0, wanted) == won


def test_letters_are_laid_over_each_other() -> None:
    assert overlaid("S...F", 1, "F.S") == "SF.SF"
    assert overlaid("S.S.", 0, "...F") == "S.SF"
    assert [prefix(letters) for letters in ("", ".S", "S.S", "SFU")] == [0, 0, 1, 3]
    assert list(places("SFSFF", "F")) == [1, 3, 4]


def test_a_run_is_cut_at_the_borders_of_chunks() -> None:
    run = a_run("SF" * 300, 450)
    parts = dict(split(run, SIZE, 1_000))
    assert {number: (part.first, len(part.letters)) for number, part in parts.items()} == {0: (450, 50), 1: (500, 500)}
    assert "".join(part.letters for part in parts.values()) == run.letters[:550]
    assert json.loads(parts[1].rows)[0] == ["o500", "u500"]
    assert parts[1].failures[0].index == 501
    assert len(parts[0].failures) + len(parts[1].failures) == 275


@pytest.mark.parametrize(
    ("first", "letters", "kept"), [(0, "SSS", "SS"), (1, "FF", "F"), (2, "S", None), (9, "S", None)]
)
def test_what_lies_beyond_the_total_is_left_out(first: int, letters: str, kept: str | None) -> None:
    found = clipped([Dated(0, a_run(letters, first))], 2)
    assert [dated.run.letters for dated in found] == ([kept] if kept else [])
    assert by_chunk([Dated(0, a_run("S", 600))], 600) == {}


def test_the_total_decides_the_layout() -> None:
    assert [is_large(total) for total in (1, 100, 101)] == [False, False, True]
    assert [(count_of(total), size_of(count_of(total) - 1, total)) for total in (101, 500, 501)] == [
        (1, 101),
        (1, 500),
        (2, 1),
    ]


@pytest.mark.parametrize(
    ("letters", "state", "printed"),
    [
        ("...", State.RECEIVED, "PROCESSING"),
        ("S..", State.VALIDATING, "PROCESSING"),
        ("F..", State.VALIDATING, "PROCESSING_WITH_WARNING"),
        ("FF.", State.VALIDATING, "PROCESSING_WITH_WARNING"),
        ("SSS", State.COMPLETED, "PROCESSING"),
        ("SSF", State.COMPLETED_WITH_WARNING, "PROCESSING_WITH_WARNING"),
        ("FFF", State.FAILED, "FAILED"),
    ],
)
def test_states_and_printed_statuses(letters: str, state: State, printed: str) -> None:
    job = after(opened(a_header(3)), judged(a_run(letters), a_header(3)), total=3).job
    assert (job.state, job_status(job), job.is_terminal) == (state, printed, "." not in letters)


@pytest.mark.parametrize(
    ("letters", "printed"), [("S..", "PROCESSING_WITH_WARNING"), ("...", "FAILED"), ("F..", "FAILED")]
)
def test_an_expired_job_has_ended(letters: str, printed: str) -> None:
    header = a_header(3)
    job = after(judged(a_run(letters), header), expired(header), total=3).job
    assert (job.state, job.is_terminal, job_status(job)) == (State.EXPIRED, True, printed)
    assert after(judged(a_run("SSF"), header), expired(header), total=3).job.state == State.COMPLETED_WITH_WARNING


def test_a_job_is_the_same_whatever_came_first() -> None:
    one, two = opened(refused=a_run("F.")), judged(a_run("S", 1))
    forwards, backwards = after(one, two), after(two, one)
    assert forwards.job == backwards.job
    assert forwards.block is not None
    assert backwards.block is not None
    assert forwards.block.letters == backwards.block.letters


@pytest.mark.parametrize("again", [judged(a_run("SF")), judged(a_run("FS")), judged(a_run("F")), opened(), expired()])
def test_what_is_known_changes_nothing(again: JobEvent) -> None:
    standing = after(opened(), judged(a_run("SF")))
    (news,) = fold([again]).values()
    assert advanced(standing, news) is None


def test_what_is_remembered_of_a_summary_holds_no_tallies_of_chunks() -> None:
    """Those of a large job take 40 KB: who follows a few of them to their ends would fill the memory with versions."""
    whole = Tally(0, 900, 0, 0, 900, 900, 0, 0, 0, 9)
    job = Job(a_profile(1_000, key=Key(608, str(uuid4()))), 2, 2, whole, (Tally(1, 500), Tally(1, 400)))
    before = job_json.cache_info().currsize
    assert summary_of(job) == summary_of(replace(job, chunks=()))
    assert summary_of(replace(job, chunks=job.chunks[::-1])) == summary_of(job)
    assert job_json.cache_info().currsize == before + 1


def test_times_come_from_the_outcomes_that_count() -> None:
    assert after(opened(after_ms=99)).job.last_us == CREATED_US
    standing = after(
        opened(), judged(a_run("S"), after_ms=20), judged(a_run("SF"), after_ms=10), judged(a_run("FF"), after_ms=50)
    )
    assert standing.job.last_us == CREATED_US + 20_000
    assert name_of(standing.job) == "Total records = 2. Success = 1. Failed = 1"


@pytest.mark.parametrize(
    ("span_us", "text"), [(0, "00:00:00"), (-5, "00:00:00"), (59_999_999, "00:00:59"), (360_000_000_000, "100:00:00")]
)
def test_durations(span_us: int, text: str) -> None:
    assert duration(span_us) == text


def test_ids_are_uuids_and_no_two_are_the_same() -> None:
    frame = Frame(a_profile(), CREATED_US)
    positions = [(index, fault) for index in (0, 1, 99_999, 100_000) for fault in range(20)]
    events = [json.loads(frame.event(*position, '"message"', "ERROR", "")) for position in positions]
    made = {event[name] for event in events for name in ("taskId", "statusId")} | {JOB.job_id}
    assert len(made) == 82
    assert all(str(UUID(text)) == text and text[:24] == JOB.job_id[:24] for text in made)


def test_each_distinct_fault_is_an_event_of_its_own_up_to_twenty() -> None:
    faults = [no_product(f"p{number}") for number in range(25)]
    standing = after(judged(a_run("SF", failures=[a_failure(1, *faults)])))
    assert standing.block is not None
    placed = events_in(standing.block, a_profile(), Span(START, Position(2, 0)), show_all=False)
    assert [position for position, _ in placed] == [Position(1, fault) for fault in range(20)]
    assert len({json.loads(text)["statusId"] for _, text in placed}) == 20
    assert standing.job.whole.warnings == 20
    assert json.loads(placed[7][1])["message"] == "No product is found for product ID p7"


def test_failures_with_the_same_faults_are_told_like_any_other() -> None:
    """Whether two failures share their list of faults is nothing that a reader could see."""
    one, other, two = [no_product("p1")], [no_product("p3")], [no_product("p1"), no_product("p2")]
    faults = [one, one, other, two, two, one, other]
    together = [replace(a_failure(at), faults=some) for at, some in enumerate(faults)]
    told = told_of(together, CREATED_US, a_profile())
    alone = [told_of([failure], CREATED_US, a_profile()) for failure in together]
    assert told.levels == ",".join(each.levels for each in alone)
    assert told.events == ",\n".join(each.events for each in alone)
    assert told.details == "\n".join(each.details for each in alone)
    events = [json.loads(text)["attributes"] for text in re.split(",[\n\t]", told.events)]
    assert [f"{event['orderId']} {event['index']} {event['productId']}" for event in events] == [
        "o0 0 p1", "o1 1 p1", "o2 2 p3", "o3 3 p1", "o3 3 p2", "o4 4 p1", "o4 4 p2", "o5 5 p1", "o6 6 p3",
    ]  # fmt: skip


def test_an_event_has_the_printed_keys_in_their_order() -> None:
    fault = Fault("INVALID_VALUE", "/id", "bad \u2028 id", "WARNING", None, retryable=False)
    event = json.loads(told_of([a_failure(3, fault, order_id=None)], CREATED_US, a_profile()).events)
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
    (block, (entry,)) = absorb(empty_block(0, 0, 1), [Dated(0, Run(0, "F", "", [failure]))], a_profile(1))
    assert len(entry.details.splitlines()) == 1
    assert block.letters == "F"
    json.loads("{" + entry.details + "}")


@pytest.mark.parametrize(
    ("rows", "of", "expected"),
    [
        ('[["1","u"],null]', "orders", [OrderRow("1", "u"), UNKNOWN]),
        ('[["1","u","online"]]', "orders", [OrderRow("1", "u", "online"), UNKNOWN]),
        (
            '[["1","r","u"],["2","s","v","online"]]',
            "returns",
            [ReturnRow("1", "r", "u"), ReturnRow("2", "s", "v", "online")],
        ),
        ("", "orders", [UNKNOWN, UNKNOWN]),
        ("[[1]]", "orders", [UNKNOWN, UNKNOWN]),
        ('[["1","u"],null,["3","w"]]', "orders", [OrderRow("1", "u"), UNKNOWN]),
    ],
)
def test_rows_are_read_with_patience(rows: str, of: str, expected: list[Who]) -> None:
    assert read_rows(rows, 2, of=of) == expected


@pytest.mark.parametrize("mode", ["online", 'on"line', "\\", "on\nline"])
def test_whatever_mode_a_row_has_its_event_is_json(mode: str) -> None:
    run = Run(0, "SS", json.dumps([["1", "u", mode], ["2", "v"]]))
    standing = after(judged(run))
    assert standing.block is not None
    page = events_page(standing.job, [standing.block], Wish(5, show_all=True))
    assert [json.loads(text)["attributes"]["mode"] for text in texts_of(page)] == [mode, "offline", "offline"]


def test_rows_are_cut() -> None:
    assert cut_rows('[["1","u"],null,["3","w"]]', 1, 3) == '[null,["3","w"]]'
    assert cut_rows("nonsense", 0, 1) == cut_rows("", 0, 1) == ""


def test_a_tally_speaks_of_the_prefix() -> None:
    block, _ = absorb(empty_block(0, 0, 6), [Dated(5, a_run("SF")), Dated(7, a_run("FS", 3))], a_profile(6))
    shown = tally(block)
    assert (shown.succeeded, shown.failed, shown.prefix, shown.warnings, shown.last_us) == (2, 2, 2, 1, 7)


def a_page(standing: Standing, wish: Wish) -> tuple[list[int], Lap | None]:
    assert standing.block is not None
    page = events_page(standing.job, [standing.block], wish)
    return [json.loads(text)["attributes"].get("index", -1) for text in texts_of(page)], page.rest


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("cuts", [[("FSFFS", 0)], [("FSF", 0), ("FS", 3)], [("F.F..", 0), (".S.FS", 0)]], ids=str)
def test_pages_of_any_size_hold_the_same_events(cuts: list[tuple[str, int]], rows: int) -> None:
    """Whether a page takes all of a block as it is stored, or a part of it; whether its runs are interleaved or not."""
    runs = [a_run(letters, first) for letters, first in cuts]
    doubled = [a_failure(failure.index, no_product("p1"), no_product("p2")) for failure in runs[0].failures]
    runs[0] = Run(runs[0].first, runs[0].letters, runs[0].rows, doubled)
    standing = after(*(judged(run) for run in runs), total=5)
    found, lap = [], Wish(rows).lap
    while True:
        page, rest = a_page(standing, Wish(rows, lap=lap))
        found += page
        if rest is None:
            break
        assert len(page) == rows
        lap = rest
    assert sorted(found) == found
    assert (set(found), len(found)) == ({0, 2, 3}, standing.job.whole.warnings)


def test_reading_backwards_shows_later_what_came_later() -> None:
    """Every event once, the last first, and null only when the job has ended."""
    header = a_header(5)
    early = after(judged(a_run("FFF"), header), total=5)
    first, rest = a_page(early, Wish(2, descending=True))
    assert (first, rest) == ([2, 1], Lap(START, Position(0, 1), Position(3, 0)))
    assert rest is not None
    begun_early = rest
    second, rest = a_page(early, Wish(2, descending=True, lap=rest))
    assert (second, rest) == ([0], Lap(Position(3, 0)))
    assert rest is not None
    late = after(judged(a_run("FFF"), header), judged(a_run("FF", 3), header), total=5)
    assert a_page(late, Wish(2, descending=True, lap=begun_early)) == (second, rest), "it ended on the way"
    third, rest = a_page(late, Wish(2, descending=True, lap=rest))
    assert (third, rest) == ([4, 3], None)


def test_a_running_jobs_last_page_goes_on_at_the_end_of_the_prefix() -> None:
    running = after(judged(a_run("SF", 0), a_header(3)), total=3).job
    assert lap_after(Lap(START), running, next_at=None, descending=False) == Lap(Position(2, 0))
    assert lap_after(Lap(START), running, next_at=Position(1, 0), descending=False) == Lap(Position(1, 0))


def test_a_page_needs_few_chunks_wherever_it_is() -> None:
    """Page N costs what page 1 costs."""
    total = 100_000
    chunk = Tally(1, 400, 100, 0, 500, 400, 0, 100, 0, 9)
    whole = Tally(0, 80_000, 20_000, 0, total, 80_000, 0, 20_000, 0, 9)
    job = Job(a_profile(total, key=Key(608, JOB.job_id)), 9, 9, whole, (chunk,) * 200)
    for index in (0, 40_123, 70_000):
        assert len(chunks_for_events(job, Wish(5_000, lap=Lap(Position(index, 0))))) == 52
        assert len(chunks_for_events(job, Wish(5_000, show_all=True, lap=Lap(Position(index, 0))))) == 12
    assert chunks_for_events(job, Wish(10, descending=True)) == [199, 198]
