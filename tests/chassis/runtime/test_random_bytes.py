"""Random bytes are drawn many at a time, and used once."""

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

from services.chassis.runtime.random_bytes import BYTES, _pool, random_bytes


def test_no_bytes_are_returned_twice() -> None:
    drawn = [random_bytes() for _ in range(2_000)]
    assert {len(each) for each in drawn} == {BYTES}
    assert len(set(drawn)) == len(drawn)


def test_threads_get_different_ones() -> None:
    with ThreadPoolExecutor(8) as threads:
        drawn = [
            each for part in threads.map(lambda _: [random_bytes() for _ in range(500)], range(16)) for each in part
        ]
    assert len(set(drawn)) == len(drawn) == 8_000


def test_the_system_is_asked_seldom() -> None:
    _pool.clear()
    with patch("os.urandom", wraps=os.urandom) as urandom:
        for _ in range(256):
            random_bytes()
    assert urandom.call_count == 1


def test_a_child_process_draws_its_own() -> None:
    random_bytes()
    with multiprocessing.get_context("fork").Pool(1) as children:
        child = children.apply(random_bytes)
    assert child not in [random_bytes() for _ in range(300)]
