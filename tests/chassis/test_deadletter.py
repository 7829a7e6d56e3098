"""Dead letters: what could not be processed is kept whole, with its reason and where it came from."""

from collections.abc import AsyncIterator

import pytest
from aiokafka import ConsumerRecord

from services.chassis.deadletter import DEAD_LETTERS, DeadLetter, DeadLetters
from services.chassis.errors import Away
from services.chassis.producer import Outgoing, Producer
from tests.chassis.kafka_side import a_name, everything, make_topics, settings


@pytest.fixture
async def producer(kafka_bootstrap: str) -> AsyncIterator[Producer]:
    made = Producer(settings(kafka_bootstrap), client_id="test")
    await made.start()
    await made.wait_ready(15)
    yield made
    await made.stop()


async def test_a_letter_holds_the_original_and_where_it_came_from(kafka_bootstrap: str, producer: Producer) -> None:
    topic = a_name("poison")
    await make_topics(kafka_bootstrap, {topic: 3, f"{topic}.dlq": 3})
    hostile = (("jobId", b"\xff"), ("dlq.reason", b"none of yours"), ("jobId", b"again"))
    await producer.send_batch(topic, 2, [Outgoing(b"first", b"ok"), Outgoing(b"\x00key", b"\xff\x00", hostile)])
    (_, record) = await everything(kafka_bootstrap, topic)
    counted = DEAD_LETTERS.labels(topic, "unknown-framing")._value
    before = counted.get()
    await DeadLetters(producer, group="validator").send([DeadLetter(record, "unknown-framing", "no id", attempts=3)])
    (letter,) = await everything(kafka_bootstrap, f"{topic}.dlq")
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
    poison = [Outgoing(None, None), Outgoing(b"", b""), Outgoing(None, b"x"), Outgoing(b"tombstone", None)]
    await producer.send_batch(topic, 0, poison)
    await producer.send_batch(topic, 0, [Outgoing(b"large", b"x" * (8 * 1024 * 1024 - 100_000))])
    records = await everything(kafka_bootstrap, topic)
    await DeadLetters(producer, group="g").send(DeadLetter(record, "undecodable", "") for record in records)
    letters = await everything(kafka_bootstrap, f"{topic}.dlq")
    assert [(letter.key, letter.value) for letter in letters] == [(record.key, record.value) for record in records]
    assert [dict(letter.headers)["dlq.original-offset"] for letter in letters] == [b"0", b"1", b"2", b"3", b"4"]


async def test_letters_of_several_topics_go_to_each_ones_own(kafka_bootstrap: str, producer: Producer) -> None:
    one, two = a_name("poison"), a_name("poison")
    await make_topics(kafka_bootstrap, {f"{one}.dlq": 1, f"{two}.dlq": 1})
    await DeadLetters(producer, group="g").send(
        [DeadLetter(a_record(one), "a", ""), DeadLetter(a_record(two), "b", ""), DeadLetter(a_record(one), "c", "")]
    )
    reasons = [
        [dict(r.headers)["dlq.reason"] for r in await everything(kafka_bootstrap, f"{t}.dlq")] for t in (one, two)
    ]
    assert reasons == [[b"a", b"c"], [b"b"]]


async def test_a_letter_that_did_not_get_there_is_away_and_not_counted() -> None:
    topic = a_name("poison")
    away = Producer(settings("127.0.0.1:1"), client_id="test")
    with pytest.raises(Away):
        await DeadLetters(away, group="g").send([DeadLetter(a_record(topic), "undecodable", "")])
    assert DEAD_LETTERS.labels(topic, "undecodable")._value.get() == 0


def a_record(topic: str) -> ConsumerRecord:
    return ConsumerRecord(topic, 0, 7, 1_000, 0, b"k", b"v", None, 1, 1, ())
