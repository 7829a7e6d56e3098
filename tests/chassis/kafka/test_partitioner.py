import pytest
from aiokafka.partitioner import murmur2 as by_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.kafka.partitioner import murmur2, partition_for_key


@given(st.binary(max_size=600))
def test_the_hash_is_javas(key: bytes) -> None:
    assert murmur2(key) == by_aiokafka(key) & 0xFFFFFFFF


@pytest.mark.parametrize("length", range(270))
def test_keys_of_any_length_are_hashed(length: int) -> None:
    key = bytes(255 - number % 256 for number in range(length))
    assert murmur2(key) == by_aiokafka(key) & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(min_value=1, max_value=100))
def test_a_partition_is_one_of_those_there_are(key: bytes, partitions: int) -> None:
    assert 0 <= partition_for_key(key, partitions) < partitions


def test_known_keys_go_where_javas_client_sends_them() -> None:
    """From the test vectors of Kafka's own client."""
    known = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536}
    assert {key: murmur2(key) - (1 << 32) for key in known} == known
