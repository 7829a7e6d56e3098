"""Job events to bytes and back, compared with an Avro library."""

import io
import random
from typing import Any

import pytest
from fastavro import schemaless_reader
from msgspec.structs import replace

from services.jobs.codec import JobEventCodec, MalformedEventError
from services.jobs.events import Failure, Fault, JobEvent, JobKey, Opened, OutcomeRun
from services.values.instants import MAX_INSTANT_US, MIN_INSTANT_US
from tests.jobs.encoded import SCHEMA, encode, to_avro
from tests.jobs.events import a_failure, a_header, a_run, expired, judged, no_product, opened

CODEC = JobEventCodec(SCHEMA.definition, prefix=SCHEMA.prefix)


def decode(value: bytes) -> JobEvent:
    return CODEC.decode(value, start=len(SCHEMA.prefix))


def by_the_library(value: bytes) -> Any:
    stream = io.BytesIO(value)
    stream.seek(len(SCHEMA.prefix))
    read = schemaless_reader(stream, SCHEMA.plain, None, return_record_name=True)
    assert stream.tell() == len(value), "bytes are left over"
    return read


def long_and_strange() -> JobEvent:
    """Texts with lengths of every size, characters of every width, all optional fields absent."""
    faults = [
        Fault("C" * length, "/ä/€/😀", "m" * length, "ERROR", product_id, retryable=length % 2 == 1)
        for length in (0, 1, 63, 64, 8_191, 8_192)
        for product_id in (None, "", "p")
    ]
    failures = [
        a_failure(0, *faults, order_id=None, mode="online"),
        Failure(1, None, "r", "offline", faults[:1], None),
    ]
    return judged(
        OutcomeRun(0, "FF" + "." * 70, "x" * 20_000, failures), a_header(100_000, type_="returns", mode="online")
    )


@pytest.mark.parametrize(
    "event",
    [
        opened(),
        opened(refused=a_run("F.")),
        judged(a_run("SF.")),
        expired(),
        judged(a_run("FF", 40), a_header(100)),
        long_and_strange(),
    ],
    ids=range(6),
)
def test_events_are_read_as_they_were_written(event: JobEvent) -> None:
    value = encode(event)
    assert decode(value) == event
    assert CODEC.encode(event) == value


def test_broken_bytes_are_refused_or_read_as_the_library_reads_them() -> None:
    """Bytes that are cut, extended or changed anywhere are refused, or decoded as the library decodes them."""
    chance = random.Random(6)  # noqa: S311 - it has to be repeatable
    values = [encode(event) for event in (opened(refused=a_run("F.")), judged(a_run("SFF")), expired())]
    taken = 0
    for _ in range(6_000):
        value = bytearray(chance.choice(values))
        at = chance.randrange(5, len(value))
        match chance.randrange(3):
            case 0:
                value[at] = chance.randrange(256)
            case 1:
                del value[at : at + chance.randrange(1, 4)]
            case _:
                value[at:at] = chance.randbytes(chance.randrange(1, 4))
        try:
            read = decode(bytes(value))
        except MalformedEventError:
            continue
        taken += 1
        assert _lowered(to_avro(read)) == _lowered(_named(by_the_library(bytes(value))))
    assert taken > 500


def _named(read: dict[str, Any]) -> dict[str, Any]:
    """The event as the library writes it: a fact is a pair of name and content."""
    name, fact = read["fact"]
    if isinstance(fact.get("refused"), tuple):
        fact = {"refused": fact["refused"][1]}
    return {**read, "fact": (name, fact)}


def _lowered(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, "jobId": value["jobId"].lower()}


def test_an_array_may_come_in_blocks_that_tell_their_size() -> None:
    """As other libraries write them; a failure without faults has one byte for them."""
    one = encode(opened(refused=a_run("F.")))
    read = decode(one)
    assert isinstance(read.fact, Opened)
    # The array of failures: a block of one, then the end. The block is put with its size in bytes.
    head, tail = one.split(b"\x02\x00\x02\x04o0", 1)
    failure = b"\x00\x02\x04o0" + tail[:-1]
    size = len(failure) << 1
    sized = head + b"\x01" + bytes([size & 127 | 128, size >> 7]) + failure + b"\x00"
    assert to_avro(decode(sized)) == to_avro(read)
    assert _named(by_the_library(sized)) == to_avro(read)


def test_faults_that_begin_like_those_before_are_told_apart() -> None:
    """Byte by byte the same, longer, shorter, the same again; with nothing, and with something else, behind them."""
    one, two = no_product("p1"), no_product("p2")
    faults = [[one], [one], [one, two], [one], [two], [one, two], [one, two], [two, one]]
    failures = [a_failure(at, *some, mode="online" if at == 5 else "offline") for at, some in enumerate(faults)]
    value = encode(judged(a_run("F" * len(faults), failures=failures)))
    assert encode(decode(value)) == value
    with pytest.raises(MalformedEventError, match="undecodable"):
        decode(value[:-1])


def without_faults(index: int) -> Failure:
    return Failure(index, f"o{index}", None, "offline", [], None)


@pytest.mark.parametrize(
    "event",
    [
        opened(a_header(0)),
        opened(a_header(100_001)),
        opened(replace(a_header(), created_at=MIN_INSTANT_US - 1)),
        opened(replace(a_header(), created_at=MAX_INSTANT_US + 1)),
        replace(opened(), at=MIN_INSTANT_US - 1),
        replace(opened(), at=MAX_INSTANT_US + 1),
        opened(a_header(key=JobKey(608, "nonsense"))),
        opened(refused=a_run("S")),
        judged(a_run("")),
        judged(a_run("SUS")),
        judged(a_run("S", -1)),
        judged(a_run("SF", failures=[])),
        judged(a_run("SS", failures=a_run("SF").failures)),
        judged(a_run("FF", failures=a_run("FF").failures[::-1])),
        judged(a_run("F", failures=[without_faults(0)])),
        judged(a_run("SF", failures=[*a_run("SF").failures, without_faults(999)])),
        judged(a_run("FF", failures=[a_failure(0), without_faults(0), a_failure(1)])),
        judged(a_run("SS", failures=[without_faults(0)])),
    ],
)
def test_events_that_make_no_sense_are_malformed(event: JobEvent) -> None:
    with pytest.raises(MalformedEventError, match="unprocessable"):
        decode(encode(event))


@pytest.mark.parametrize(
    ("number", "is_taken"), [(2**63 - 1, True), (-(2**63), True), (2**63, False), (-(2**63) - 1, False)]
)
def test_a_site_that_the_store_has_no_room_for_is_malformed(number: int, *, is_taken: bool) -> None:
    """Ten bytes can hold more than 64 bits. One such event would be tried for ever, in front of all others."""
    value = encode(opened())
    site = len(as_long(608))
    value = SCHEMA.prefix + as_long(number) + value[len(SCHEMA.prefix) + site :]
    if is_taken:
        assert decode(value).header.key.site == number
        return
    with pytest.raises(MalformedEventError, match="unprocessable"):
        decode(value)


def as_long(number: int) -> bytes:
    """A number as Avro writes it, however large."""
    rest, found = number << 1 if number >= 0 else (-number << 1) - 1, bytearray()
    while rest > 127:
        found.append(rest & 127 | 128)
        rest >>= 7
    return bytes([*found, rest])


@pytest.mark.parametrize(
    "behind", [b"\x01", b"\xff" * 11 + b"\0"], ids=["a length below nothing", "a number without an end"]
)
def test_a_length_that_is_no_length_is_malformed(behind: bytes) -> None:
    """A length that leads back could be read for ever."""
    with pytest.raises(MalformedEventError, match="undecodable"):
        decode(SCHEMA.prefix + as_long(608) + behind)
