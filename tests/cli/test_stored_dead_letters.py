"""Dead letters: their headers, their markers and replaying them."""

from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import cast

import pytest
from aiokafka import ConsumerRecord
from typer.testing import CliRunner

from services.chassis.kafka.producer import Headers, Producer, ProducerRecord
from services.chassis.kafka.read_topic import ReadRange
from services.chassis.runtime.settings import KafkaSettings
from services.cli import dead_letters
from services.dead_letters.stored_dead_letters import REPLAYED_FROM, ReplayState, StoredDeadLetter, _LetterIndex, replay
from tests.validator.records import a_consumer_record


@pytest.mark.parametrize(
    ("headers", "source"),
    [
        (
            (
                ("dlq.original-topic", b"orders.submitted.v1"),
                ("dlq.original-partition", b"3"),
                ("dlq.original-offset", b"12"),
            ),
            "orders.submitted.v1/3/12",
        ),
        ((("dlq.original-topic", None), ("dlq.original-partition", b"\xff")), "/\ufffd/"),
        ((), "//"),
    ],
    ids=["as it should be", "without content", "without headers"],
)
def test_it_tells_where_its_record_was_read_as_far_as_it_says(headers: Headers, source: str) -> None:
    letter = StoredDeadLetter("orders.dlq.v1", 0, 0, 0, None, b"", headers)
    assert letter.source == source


class FakeProducer:
    """Records what is sent, by topic and partition."""

    def __init__(self) -> None:
        self.records: dict[str, list[bytes | None]] = defaultdict(list)

    async def send_to(self, topic: str, partition: int, records: Sequence[ProducerRecord]) -> None:
        self.records[f"{topic}/{partition}"] += [record.value for record in records]


FROM_ORDERS = (("dlq.original-topic", b"orders.submitted.v1"), ("dlq.original-partition", b"3"))


def a_letter(offset: int, *headers: tuple[str, bytes | None]) -> StoredDeadLetter:
    return StoredDeadLetter("orders.submitted.v1.dlq", 0, offset, 0, None, b"%d" % offset, headers)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("dlq.original-topic", b"orders.submitted.v1"), ("dlq.original-partition", None)),
        (("dlq.original-topic", b"orders.submitted.v1"), ("dlq.original-partition", b"-1")),
        (("dlq.original-topic", b"orders.submitted.v1"), ("dlq.original-partition", b"9" * 5000)),
        (("dlq.original-topic", b"catalog.products.v1"), ("dlq.original-partition", b"3")),
    ],
    ids=["nothing", "no partition", "no such partition", "no number", "another topic"],
)
async def test_a_letter_that_cannot_say_where_it_came_from_stays_and_keeps_no_other(headers: Headers) -> None:
    good = a_letter(2, *FROM_ORDERS)
    producer = FakeProducer()
    letters = [a_letter(1, *headers), good]
    assert await replay(letters, settings=KafkaSettings(), producer=cast("Producer", producer)) == 1
    assert producer.records == {"orders.submitted.v1/3": [b"2"], "orders.submitted.v1.dlq/0": [None, None]}


async def test_however_many_letters_there_are_each_goes_once() -> None:
    producer, letters = FakeProducer(), [a_letter(number, *FROM_ORDERS) for number in range(450)]
    assert await replay(letters, settings=KafkaSettings(), producer=cast("Producer", producer)) == 450
    assert producer.records["orders.submitted.v1/3"] == [letter.value for letter in letters]
    assert len(producer.records["orders.submitted.v1.dlq/0"]) == 2 * 450


async def test_what_may_have_gone_is_looked_for_since_the_first_of_the_replays_began(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[tuple[Sequence[str], int | None]] = []

    async def fake_read(
        _: KafkaSettings, topics: Sequence[str], read_range: ReadRange
    ) -> AsyncGenerator[ConsumerRecord, None]:
        reads.append((topics, read_range.since_ms))
        for letter in interrupted:
            yield a_consumer_record(letter.value, 0, headers=((REPLAYED_FROM, letter.name.encode()),))

    monkeypatch.setattr("services.dead_letters.stored_dead_letters.read_to_end", fake_read)
    interrupted = [
        replace(a_letter(started_ms, *FROM_ORDERS), state=ReplayState.REPLAYING, replay_started_ms=started_ms)
        for started_ms in (9, 5, 7)
    ]
    assert await replay(interrupted, settings=KafkaSettings(), producer=cast("Producer", FakeProducer())) == 0
    assert reads == [(["orders.submitted.v1"], 5)]


@pytest.mark.parametrize(
    "headers",
    [
        (("dlq.mark", None), ("dlq.marked-offset", b"0")),
        (("dlq.mark", b"lost"), ("dlq.marked-offset", b"0")),
        (("dlq.mark", b"replayed"), ("dlq.marked-offset", None)),
        (("dlq.mark", b"replayed"), ("dlq.marked-offset", b"first")),
        (("dlq.mark", b"replayed"),),
        (("dlq.mark", b"replayed"), ("dlq.marked-offset", b"7")),
    ],
    ids=["no state", "no such state", "no offset", "no number", "no header", "no such letter"],
)
def test_a_mark_that_is_none_changes_nothing(headers: Headers) -> None:
    index = _LetterIndex()
    for record in (a_consumer_record(b"a letter", 0), a_consumer_record(b"", 1, headers=headers)):
        index.add(record)
    assert [letter.state for letter in index.letters.values()] == [ReplayState.OPEN]


def test_what_a_letter_says_is_shown_as_it_is_and_what_stays_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    truncated = (("dlq.detail", b"[bold]no[/bold] markup"), ("dlq.truncated", b"9000000"), *FROM_ORDERS)

    async def fake_find(*_: object) -> list[StoredDeadLetter]:
        return [a_letter(1, *truncated), a_letter(2)]

    monkeypatch.setattr(dead_letters, "find_dead_letters", fake_find)
    assert "[bold]no[/bold] markup" in CliRunner().invoke(dead_letters.commands, ["list"]).output
    output = CliRunner().invoke(dead_letters.commands, ["replay", "--all", "--dry-run"]).output
    assert "1 dead letters are skipped: they hold only the beginning of their records" in output
    assert "1 dead letters are skipped: they do not name their original topic" in output
    assert "0 of 2 dead letters would be replayed" in output
