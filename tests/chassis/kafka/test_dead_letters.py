"""Dead letters: what could not be processed is kept whole, with its reason and where it came from."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from services.chassis.kafka.dead_letters import DEAD_LETTERS, DeadLetter, DeadLetters
from services.chassis.kafka.producer import Producer, ProducerRecord
from services.chassis.runtime.errors import UnavailableError
from tests.chassis.kafka.kafka_fixtures import a_name, make_topics, read_all, settings


@asynccontextmanager
async def running_producer(bootstrap: str, **changes: Any) -> AsyncIterator[Producer]:
    made = Producer(settings(bootstrap, **changes), client_id="test")
    await made.start()
    try:
        await made.wait_ready(15)
        yield made
    finally:
        await made.stop()


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[Producer]:
    async with running_producer(kafka_bootstrap) as made:
        yield made


async def test_a_letter_holds_the_original_and_where_it_came_from(kafka_bootstrap: str, producer: Producer) -> None:
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {topic: 3, f"{topic}.dlq": 3})
    hostile = (("jobId", b"\xff"), ("dlq.reason", b"none of yours"), ("jobId", b"again"))
    await producer.send_batch(
        topic, 2, [ProducerRecord(b"first", b"ok"), ProducerRecord(b"\x00key", b"\xff\x00", hostile)]
    )
    (_, record) = await read_all(kafka_bootstrap, topic)
    counted = DEAD_LETTERS.labels(topic, "unknown-framing")._value
    before = counted.get()
    await DeadLetters(producer, group="validator").send([DeadLetter(record, "unknown-framing", "no id", attempts=3)])
    (letter,) = await read_all(kafka_bootstrap, f"{topic}.dlq")
    assert (letter.key, letter.value) == (b"\x00key", b"\xff\x00")
    assert letter.headers[:2] == (("jobId", b"\xff"), ("jobId", b"again"))
    assert dict(letter.headers[2:]) == {
        "dlq.reason": b"unknown-framing",
        "dlq.detail": b"no id",
        "dlq.original-topic": topic.encode(),
        "dlq.original-partition": b"2",
        "dlq.original-offset": b"1",
        "dlq.original-timestamp": b"%d" % record.timestamp,
        "dlq.consumer-group": b"validator",
        "dlq.attempts": b"3",
    }
    assert counted.get() == before + 1


async def test_every_kind_of_poison_gets_one_letter(kafka_bootstrap: str, producer: Producer) -> None:
    """F14: empty, without key, without anything, large."""
    topic = a_name("poison")
    await make_topics(
        kafka_bootstrap, {topic: 1, f"{topic}.dlq": 1}, config={"max.message.bytes": str(9 * 1024 * 1024)}
    )
    poison = [
        ProducerRecord(None, None),
        ProducerRecord(b"", b""),
        ProducerRecord(None, b"x"),
        ProducerRecord(b"tombstone", None),
    ]
    await producer.send_batch(topic, 0, poison)
    await producer.send_batch(topic, 0, [ProducerRecord(b"large", b"x" * (8 * 1024 * 1024 - 100_000))])
    records = await read_all(kafka_bootstrap, topic)
    await DeadLetters(producer, group="g").send(DeadLetter(record, "undecodable", "") for record in records)
    letters = await read_all(kafka_bootstrap, f"{topic}.dlq")
    assert [(letter.key, letter.value) for letter in letters] == [(record.key, record.value) for record in records]
    assert [dict(letter.headers)["dlq.original-offset"] for letter in letters] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_topic_that_takes_less_than_ours_gets_the_beginnings(kafka_bootstrap: str) -> None:
    """One that somebody made by hand takes what Kafka takes by default. The partition must go on all the same."""
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {f"{topic}.dlq": 1}, config={"max.message.bytes": "1048588"})
    large, small = b"v" * 2_000_000, b"v" * 60_000
    records = [a_record(topic, key=large, value=large), a_record(topic, value=small), a_record(topic, value=large)]
    counted = DEAD_LETTERS.labels(topic, "undecodable")._value
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await DeadLetters(producer, group="g").send(DeadLetter(record, "undecodable", "") for record in records)
    letters = (await read_all(kafka_bootstrap, f"{topic}.dlq"))[-3:]
    told = {letter.value: dict(letter.headers).get("dlq.truncated") for letter in letters}
    assert told.pop(small) is None, "what is small is kept whole"
    assert told == {large[: 64 * 1024]: b"%d" % (len(large) + 1)}
    assert [len(letter.key) for letter in letters if letter.key != b"k"] == [64 * 1024]
    assert counted.get() == 3


async def test_of_many_large_headers_the_first_are_kept(kafka_bootstrap: str, producer: Producer) -> None:
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {f"{topic}.dlq": 1}, config={"max.message.bytes": str(9 * 1024 * 1024)})
    headers = (("n", b"1"), ("null", None), ("huge", b"x" * 9_000_000), ("after", b"2"))
    await DeadLetters(producer, group="g").send([DeadLetter(a_record(topic, headers=headers), "undecodable", "")])
    (letter,) = await read_all(kafka_bootstrap, f"{topic}.dlq")
    assert [header for header in letter.headers if not header[0].startswith("dlq.")] == [("n", b"1"), ("null", None)]
    assert dict(letter.headers)["dlq.truncated"] == b"9000018"


async def test_headers_that_hold_nothing_have_a_size_as_well(kafka_bootstrap: str) -> None:
    """A million of them are small once compressed. Nobody else can send the letter: the partition would stop."""
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {f"{topic}.dlq": 1}, config={"max.message.bytes": "100000"})
    record = a_record(topic, headers=(("", None),) * 60_000)
    async with running_producer(kafka_bootstrap, kafka_compression="none") as producer:
        await DeadLetters(producer, group="g").send([DeadLetter(record, "oversize", "")])
    (letter,) = await read_all(kafka_bootstrap, f"{topic}.dlq")
    assert (letter.value, dict(letter.headers)["dlq.reason"]) == (b"v", b"oversize")
    assert "dlq.truncated" in dict(letter.headers)


ATTEMPTS: dict[bytes | None, bytes] = {
    b"2": b"3",
    b"99999": b"100000",
    b"100000": b"1",
    b"9" * 5_000: b"1",
    b"": b"1",
    b"-1": b"1",
    b"two": b"1",
    None: b"1",
}


async def test_attempts_count_on_from_what_a_letter_said_and_from_nothing_else(
    kafka_bootstrap: str, producer: Producer
) -> None:
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {f"{topic}.dlq": 1})
    records = [a_record(topic, headers=(("dlq.attempts", given),)) for given in ATTEMPTS]
    await DeadLetters(producer, group="g").send(DeadLetter(record, "undecodable", "") for record in records)
    told = [dict(letter.headers)["dlq.attempts"] for letter in await read_all(kafka_bootstrap, f"{topic}.dlq")]
    assert dict(zip(ATTEMPTS, told, strict=True)) == ATTEMPTS


async def test_letters_of_several_topics_go_to_each_ones_own(kafka_bootstrap: str, producer: Producer) -> None:
    one, two = a_name("poison"), a_name("poison")
    await make_topics(kafka_bootstrap, {f"{one}.dlq": 1, f"{two}.dlq": 1})
    await DeadLetters(producer, group="g").send(
        [DeadLetter(a_record(one), "a", ""), DeadLetter(a_record(two), "b", ""), DeadLetter(a_record(one), "c", "")]
    )
    reasons = [[dict(r.headers)["dlq.reason"] for r in await read_all(kafka_bootstrap, f"{t}.dlq")] for t in (one, two)]
    assert reasons == [[b"a", b"c"], [b"b"]]


async def test_a_letter_that_did_not_get_there_is_away_and_not_counted() -> None:
    topic = a_name("poison")
    away = Producer(settings("127.0.0.1:1"), client_id="test")
    with pytest.raises(UnavailableError):
        await DeadLetters(away, group="g").send([DeadLetter(a_record(topic), "undecodable", "")])
    assert DEAD_LETTERS.labels(topic, "undecodable")._value.get() == 0


def a_record(topic: str, *, key: bytes = b"k", value: bytes = b"v", headers: Any = ()) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, 7, 1_000, 0, key, value, None, len(key), len(value), headers)
