"""The event loop and threads beside it take turns: both need the interpreter's lock."""

import sys
from collections.abc import Iterator

import pytest

from services.chassis.runtime.lifecycle import tune_threads


@pytest.fixture(autouse=True)
def _restored_interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_the_event_loop_waits_for_less_than_a_millisecond_for_a_thread_that_computes() -> None:
    """Breaks: schemas are compared, or a large body is parsed, in a thread: each turn would wait for it for 5 ms.

    Not measured here: other programs would delay the turns more than that.
    """
    sys.setswitchinterval(0.005)
    tune_threads()
    assert sys.getswitchinterval() < 0.001
