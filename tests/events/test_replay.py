"""Replaying dead letters: each exactly once, also when the command is killed at any point."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import InvalidReplicationFactorError
from typer.testing import CliRunner

from services.chassis.kafka.dead_letters import DeadLetter, DeadLetters
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from services.cli import topic_admin
from services.cli.catalog import commands as catalog
from services.cli.dead_letters import commands
from services.cli.settings import CliSettings
from services.dead_letters.stored_dead_letters import (
    REPLAYED_FROM,
    DeadLetterFilter,
    ReplayState,
    find_dead_letters,
    replay,
)
from services.topics import TOPICS
from tests.chassis.kafka.consumer_fixtures import ConsumerHarness
from tests.events.dying_producer import DyingProducer
from tests.events.harness import KafkaHarness
from tests.validator.records import a_consumer_record

ORDERS_IN = "orders.submitted.v1"
LETTERS = f"{ORDERS_IN}.dlq"


@pytest.fixture
async def producer(harness: KafkaHarness) -> AsyncIterator[DyingProducer]:
    made = DyingProducer(harness.settings, client_id="test", linger_ms=0)
    await made.start()
    await made.wait_ready(30)
    yield made
    await made.stop()


async def send_dead_letters(producer: Producer, reason: str, count: int) -> None:
    """Send dead letters of one partition, with a reason of this test's own."""
    group = DeadLetters(producer, group="test")
    records = [
        a_consumer_record(f"{reason} {n}".encode(), n, partition=1, headers=(("n", str(n).encode()),))
        for n in range(count)
    ]
    await group.send(DeadLetter(record, reason, "for a test") for record in records)


async def replayed_values(harness: KafkaHarness, reason: str) -> list[bytes]:
    """Return the values that were replayed with this reason."""
    records = await harness.records(ORDERS_IN)
    assert all(record.partition == 1 for record in records if record.value.startswith(reason.encode()))
    return [record.value for record in records if record.value.startswith(reason.encode())]


@pytest.mark.parametrize("after", [False, True], ids=["before it arrived", "after it arrived"])
@pytest.mark.parametrize("lives", [0, 1, 2])
async def test_a_replay_that_dies_anywhere_is_finished_by_the_next(
    harness: KafkaHarness, producer: DyingProducer, lives: int, *, after: bool
) -> None:
    """Three sends: the marker of the start, the records, the marker of the end."""
    reason = f"died-{lives}-{after}"
    await send_dead_letters(producer, reason, 5)
    selection = DeadLetterFilter(reasons=frozenset({reason}))
    producer.sends_before_death, producer.dies_after_send = lives, after
    with pytest.raises(UnavailableError):
        await replay(await find_dead_letters(harness.settings, selection), settings=harness.settings, producer=producer)
    producer.sends_before_death = None
    for _ in range(2):
        await replay(await find_dead_letters(harness.settings, selection), settings=harness.settings, producer=producer)
    assert sorted(await replayed_values(harness, reason)) == [f"{reason} {n}".encode() for n in range(5)]
    assert {letter.state for letter in await find_dead_letters(harness.settings, selection)} == {ReplayState.REPLAYED}


async def test_a_replay_is_finished_whatever_headers_others_write(
    harness: KafkaHarness, producer: DyingProducer
) -> None:
    """It searches for its own records among all that were written since."""
    await send_dead_letters(producer, "among-others", 2)
    selection = DeadLetterFilter(reasons=frozenset({"among-others"}))
    producer.sends_before_death = 1
    with pytest.raises(UnavailableError):
        await replay(await find_dead_letters(harness.settings, selection), settings=harness.settings, producer=producer)
    producer.sends_before_death = None
    empty: Any = ((REPLAYED_FROM, None),)
    await producer.send_to(ORDERS_IN, 1, [ProducerRecord(b"k", b"theirs", empty)])
    await ConsumerHarness(harness.bootstrap, ORDERS_IN, "nobody").produce_named(b"\xff")
    await replay(await find_dead_letters(harness.settings, selection), settings=harness.settings, producer=producer)
    assert sorted(await replayed_values(harness, "among-others")) == [b"among-others 0", b"among-others 1"]


async def test_what_goes_back_is_the_record_as_it_was(harness: KafkaHarness, producer: DyingProducer) -> None:
    await send_dead_letters(producer, "as-it-was", 1)
    (letter,) = await find_dead_letters(harness.settings, DeadLetterFilter(reasons=frozenset({"as-it-was"})))
    assert letter.source == f"{ORDERS_IN}/1/0"
    assert await replay([letter], settings=harness.settings, producer=producer) == 1
    (record,) = [one for one in await harness.records(ORDERS_IN) if one.value == b"as-it-was 0"]
    assert record.key == letter.key
    assert list(record.headers) == [("n", b"0"), ("dlq.attempts", b"1"), (REPLAYED_FROM, letter.name.encode())]


async def test_a_record_that_dies_again_says_how_often(harness: KafkaHarness, producer: DyingProducer) -> None:
    again = a_consumer_record(b"x", 0, headers=(("dlq.attempts", b"1"), (REPLAYED_FROM, b"a letter")))
    await DeadLetters(producer, group="test").send([DeadLetter(again, "again", "for a test")])
    (letter,) = await find_dead_letters(harness.settings, DeadLetterFilter(reasons=frozenset({"again"})))
    assert letter.header("dlq.attempts") == "2"
    assert not letter.header(REPLAYED_FROM)


async def test_a_record_that_fits_into_no_letter_leaves_its_beginning(
    harness: KafkaHarness, producer: DyingProducer
) -> None:
    """A compressed record can be larger than any batch; the partition must continue nevertheless."""
    huge = a_consumer_record(b"\0" * 9_000_000, 7, headers=(("n", b"1"), ("huge", b"x" * 100_000)))
    await DeadLetters(producer, group="test").send([DeadLetter(huge, "huge", "for a test")])
    (letter,) = await find_dead_letters(harness.settings, DeadLetterFilter(reasons=frozenset({"huge"})))
    assert not letter.is_whole
    assert letter.header("dlq.truncated") == str(9_000_000 + 100_000 + len(b"608|web|1") + len("n1huge"))
    assert len(letter.value or b"") == 1024 * 1024
    assert letter.headers[0] == ("n", b"1")
    assert await replay([letter], settings=harness.settings, producer=producer) == 0


async def test_letters_are_chosen_by_reason_topic_name_and_time(harness: KafkaHarness, producer: DyingProducer) -> None:
    await send_dead_letters(producer, "chosen", 3)
    found = await find_dead_letters(harness.settings, DeadLetterFilter(reasons=frozenset({"chosen"})))
    first = found[0]
    for selection, count in (
        (DeadLetterFilter(reasons=frozenset({"chosen", "other"})), 3),
        (DeadLetterFilter(reasons=frozenset({"chosen"}), topics=frozenset({"returns.submitted.v1"})), 0),
        (DeadLetterFilter(names=frozenset({first.name})), 1),
        (DeadLetterFilter(reasons=frozenset({"chosen"}), since_ms=first.failed_at_ms), 3),
        (DeadLetterFilter(reasons=frozenset({"chosen"}), until_ms=first.failed_at_ms), 0),
    ):
        assert len(await find_dead_letters(harness.settings, selection)) == count
    asked = ("dead-letters", "list", "--reason", "chosen", "--since", "1h")
    listed = await asyncio.to_thread(harness.run_cli, *asked, COLUMNS="80")
    assert all(letter.name in listed for letter in found), (
        "names are not wrapped, so that they can be passed to other commands"
    )


async def test_the_command_says_how_many_would_go_sends_them_and_says_which_are_not_there(
    harness: KafkaHarness, producer: DyingProducer
) -> None:
    await send_dead_letters(producer, "asked", 3)
    first, *_ = await find_dead_letters(harness.settings, DeadLetterFilter(reasons=frozenset({"asked"})))

    async def run(*arguments: str) -> str:
        where = {"KAFKA_BOOTSTRAP_SERVERS": harness.bootstrap}
        done = await asyncio.to_thread(CliRunner().invoke, commands, arguments, env=where)
        return f"{done.output}{done.exit_code}"

    waiting = ("replay", "--reason", "asked", "--dry-run")
    assert await run(*waiting) == "3 of 3 dead letters would be replayed\n0"
    assert await run("replay", first.name) == "1 of 1 dead letters replayed\n0"
    assert await run(*waiting) == "2 of 3 dead letters would be replayed\n0"
    assert len(await replayed_values(harness, "asked")) == 1
    shown = await run("show", first.name)
    assert [line.split(":")[0] for line in shown.splitlines()].count("header") == 1, (
        "only the record's own header, none of the dead letter's"
    )
    nowhere = f"{LETTERS}/1/999999"
    for arguments in (("show", nowhere), ("replay", nowhere, first.name)):
        assert await run(*arguments) == f"there is no dead letter {nowhere}\n1"


async def test_topics_are_created_once_and_what_brokers_refuse_is_told(harness: KafkaHarness) -> None:
    settings = CliSettings(kafka_bootstrap_servers=harness.bootstrap, topic_replication_factor=3)
    fresh = [replace(TOPICS[0], name="created-here.v1")]
    with pytest.raises(InvalidReplicationFactorError, match="created-here"):
        await topic_admin.create(fresh, settings)
    settings = settings.model_copy(update={"topic_replication_factor": 1})
    assert [await topic_admin.create(fresh, settings) for _ in range(2)] == [["created-here.v1"], []]


async def test_the_catalogue_is_not_kept_by_a_file_that_cannot_be_read(harness: KafkaHarness, tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("site,productId,name\nx,1,One\n")
    where = {"KAFKA_BOOTSTRAP_SERVERS": harness.bootstrap}
    done = await asyncio.to_thread(CliRunner().invoke, catalog, ["watch", str(path), "--once"], env=where)
    assert (done.exit_code, "line 2" in done.output) == (1, True), done.output
