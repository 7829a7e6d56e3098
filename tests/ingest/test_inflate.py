"""Bounded gzip decompression."""

import gzip
import tracemalloc
import zlib

import pytest

from services.ingest.domain.inflate import (
    MAX_BODY_BYTES,
    MAX_INFLATED_BYTES,
    InvalidGzip,
    TooLarge,
    held_bytes,
    inflate,
)

BODY = b'[{"id": 1}]'
ZIPPED = gzip.compress(BODY)


def test_the_bounds_are_those_of_the_documents() -> None:
    assert (MAX_BODY_BYTES, MAX_INFLATED_BYTES) == (102_400, 4 * 1024 * 1024)


@pytest.mark.parametrize(
    ("compressed", "outcome"),
    [
        pytest.param(ZIPPED, BODY, id="one member"),
        pytest.param(gzip.compress(b""), b"", id="nothing inside"),
        pytest.param(ZIPPED[:-1], InvalidGzip("the gzip data is truncated"), id="last byte of the checksum missing"),
        pytest.param(ZIPPED[:-8], InvalidGzip("the gzip data is truncated"), id="trailer missing"),
        pytest.param(ZIPPED[:12], InvalidGzip("the gzip data is truncated"), id="cut in the middle"),
        pytest.param(ZIPPED[:2], InvalidGzip("the gzip data is truncated"), id="two bytes"),
        pytest.param(b"", InvalidGzip("the gzip data is truncated"), id="no byte"),
        pytest.param(ZIPPED + b"\n", InvalidGzip("the gzip data is followed by other data"), id="a trailing byte"),
        pytest.param(ZIPPED + b"\0" * 512, InvalidGzip("the gzip data is followed by other data"), id="padding"),
        pytest.param(ZIPPED + ZIPPED, InvalidGzip("the gzip data is followed by other data"), id="a second member"),
        pytest.param(BODY, InvalidGzip("the gzip data is corrupt"), id="plain"),
        pytest.param(zlib.compress(BODY), InvalidGzip("the gzip data is corrupt"), id="zlib"),
        pytest.param(ZIPPED[:-8] + b"\0" * 8, InvalidGzip("the gzip data is corrupt"), id="wrong checksum"),
        pytest.param(ZIPPED[:3] + b"\xff" + ZIPPED[4:], InvalidGzip("the gzip data is corrupt"), id="reserved flags"),
    ],
)
def test_exactly_one_whole_member_is_taken(compressed: bytes, outcome: object) -> None:
    assert inflate(compressed) == outcome


@pytest.mark.parametrize(("size", "is_accepted"), [(99, True), (100, True), (101, False), (100_000, False)])
def test_it_inflates_up_to_the_bound(size: int, is_accepted: bool) -> None:  # noqa: FBT001 - a column of the table
    body = b"x" * size
    assert inflate(gzip.compress(body), max_bytes=100) == (body if is_accepted else TooLarge(100))


def test_too_large_comes_before_what_follows() -> None:
    """Decompression stops at the bound: what follows is never checked."""
    assert inflate(gzip.compress(b"x" * 200)[:-1], max_bytes=100) == TooLarge(100)


@pytest.mark.parametrize(
    ("compressed", "size"),
    [
        (gzip.compress(b"x" * 1_000_000), 1_000_000),
        (b"x" * 900, 900 * 1032),
        (b"", 0),
        (gzip.compress(bytes(MAX_INFLATED_BYTES)), MAX_INFLATED_BYTES),
        (gzip.compress(bytes(MAX_INFLATED_BYTES + 1)), 0),
    ],
)
def test_it_can_be_told_beforehand_how_much_of_a_body_is_held(compressed: bytes, size: int) -> None:
    assert held_bytes(compressed) == size


@pytest.mark.parametrize("claimed", [0, 1, 1_000, 999_999])
def test_a_body_that_claims_to_be_small_is_refused_and_not_held(claimed: int) -> None:
    liar = gzip.compress(bytes(1_000_000))[:-4] + claimed.to_bytes(4, "little")
    tracemalloc.start()
    try:
        assert inflate(liar) == InvalidGzip("the gzip data is corrupt")
        assert tracemalloc.get_traced_memory()[1] < claimed + 200_000
    finally:
        tracemalloc.stop()
    assert inflate(liar[:-1], max_bytes=2_000_000) == InvalidGzip("the gzip data is truncated")
    assert inflate(liar, max_bytes=500_000) == TooLarge(500_000)
