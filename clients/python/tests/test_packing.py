"""Packing: as full as the bounds allow, and no record twice or lost."""

import gzip
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tillstream.models import Limits
from tillstream.pace import Pace
from tillstream.packing import Batch, Bounds, Unsent, pack
from tillstream.sources.records import LocalFault, SourceRecord


def a_record(number: int, size: int = 10, *, fault: bool = False) -> SourceRecord:
    # Random text does not compress.
    text = json.dumps({"id": number, "x": os.urandom(size // 2).hex()}).encode()
    return SourceRecord(number, number + 1, text, [], LocalFault("X", "", "x") if fault else None)


@given(
    sizes=st.lists(st.tuples(st.sampled_from([10, 500, 3000]), st.booleans()), max_size=60),
    bounds=st.builds(Bounds, st.integers(1, 20), st.integers(2000, 4000), st.integers(4000, 20_000)),
)
def test_every_record_is_in_one_request_or_reported(sizes: list[tuple[int, bool]], bounds: Bounds) -> None:
    records = [a_record(number, size, fault=fault) for number, (size, fault) in enumerate(sizes)]
    numbers = []
    for item in pack(records, bounds):
        if isinstance(item, Unsent):
            assert records[item.number].fault is not None or len(records[item.number].json) > 1900
            numbers.append(item.number)
            continue
        content = json.loads(gzip.decompress(item.body))
        assert [one["id"] for one in content] == list(range(item.first, item.first + item.count))
        assert len(content) <= bounds.records
        assert len(item.body) <= bounds.bytes
        assert len(gzip.decompress(item.body)) <= bounds.inflated_bytes
        numbers += [one["id"] for one in content]
    assert numbers == list(range(len(records)))


def test_requests_are_as_full_as_they_may_be() -> None:
    batches = list(pack((a_record(number) for number in range(250)), Bounds()))
    assert [batch.count for batch in batches if isinstance(batch, Batch)] == [100, 100, 50]


@pytest.mark.parametrize(
    ("limit", "share", "least"),
    [(1, 1, 1), (50, 1, 50), (100, 1, 100), (100, 0.5, 50), (150, 1, 150), (199, 1, 198), (1000, 0.15, 150)],
)
def test_requests_use_the_whole_limit(limit: int, share: float, least: int) -> None:
    """Breaks if what is left of a second after full requests is wasted: 150 records a second are two of 75."""
    limits = Limits(
        records_per_second=limit,
        remaining=limit,
        reset_after_seconds=0,
        records_per_request=100,
        bytes_per_request=102_400,
        inflated_bytes_per_request=4_194_304,
    )
    budget = Pace(limit, share=share).budget
    records = Bounds.of(limits, records_per_second=budget).records
    assert 1 <= records <= 100
    assert budget // records * records >= least


def test_the_same_records_are_the_same_bytes() -> None:
    records = [a_record(number) for number in range(3)]
    assert list(pack(records, Bounds())) == list(pack(records, Bounds()))


def test_a_record_that_no_request_can_hold_is_reported() -> None:
    (item,) = pack([a_record(0, 300_000)], Bounds())
    assert isinstance(item, Unsent)
    assert item.fault.code == "TOO_LARGE"
    assert "102400" in item.fault.message
