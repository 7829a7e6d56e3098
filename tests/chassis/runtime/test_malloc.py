"""What the allocator keeps, and what the process returns to the system."""

import subprocess
import sys

from services.chassis.runtime.settings import REPOSITORY

ALLOCATING_SCRIPT = """
import resource, sys
import services.chassis.runtime.lifecycle  # the libraries of a service
from services.chassis.runtime.malloc import tune_malloc
if sys.argv[1] == "kept":
    tune_malloc()
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for answer in range(60):
    if answer == 10:
        before = faults()
    parts = [b"x" * 60_000 for _ in range(40)]
    body = b",".join(parts)
    del parts, body
print(faults() - before)
"""


def test_the_pages_of_large_answers_are_kept_for_the_next_ones() -> None:
    """Known by how often the process has to be given a new page."""
    taken = [
        int(subprocess.check_output([sys.executable, "-c", ALLOCATING_SCRIPT, how], cwd=REPOSITORY))
        for how in ("kept", "given")
    ]
    assert taken[0] < taken[1] / 5, taken


TRIMMING_SCRIPT = """
import asyncio, sys
from services.chassis.runtime import malloc
malloc.tune_malloc()
import gc
gc.disable()  # as good as
kept = []
for _ in range(3_000):
    cycle = [b"x" * 100_000]
    cycle.append(cycle)
    kept.append(b"y" * 1_000)
del cycle
before = malloc._resident_bytes()
trimmer = malloc.MemoryTrimmer()
asyncio.run(trimmer.trim_if_due(10.0))
after = malloc._resident_bytes()
bodies = [b"x" * 100_000 for _ in range(3_000)]
del bodies
asyncio.run(trimmer.trim_if_due(10.0 + malloc.MIN_PAUSE_S - 0.1))
print(before // 2**20, after // 2**20, malloc._resident_bytes() // 2**20)
"""


COLLECTING_SCRIPT = """
import asyncio, gc
from services.chassis.runtime import malloc
malloc.tune_malloc()
gc.disable()
collections = []
gc.callbacks.append(lambda phase, info: collections.append(info) if phase == "stop" else None)
trimmer = malloc.MemoryTrimmer()
def collected(at_s):
    collections.clear()
    asyncio.run(trimmer.trim_if_due(at_s))
    return len(collections)
bodies = [bytes(100_000) for _ in range(3_000)]
kept = [bytes(1_000) for _ in range(1_000)]
del bodies
freed = collected(0.0)
live = [[number] for number in range(500_000)]
bodies = [bytes(100_000) for _ in range(3_000)]
needed = collected(100.0)
bodies += [bytes(100_000) for _ in range(1_000)]
soon = collected(100.0 + malloc.MIN_PAUSE_S)
bodies += [bytes(100_000) for _ in range(1_000)]
later = collected(100_000.0)
print(freed, needed, soon, later)
"""


def test_garbage_is_collected_only_when_that_may_help_and_seldom_if_it_takes_long() -> None:
    """Breaks: the event loop stands still for tens of milliseconds every two seconds."""
    output = subprocess.check_output([sys.executable, "-c", COLLECTING_SCRIPT], cwd=REPOSITORY)
    assert output.split() == [b"0", b"1", b"0", b"1"]


def test_what_thousands_of_bodies_took_is_returned_at_intervals() -> None:
    """I8: freed between small objects that stay, it would not be returned."""
    output = subprocess.check_output([sys.executable, "-c", TRIMMING_SCRIPT], cwd=REPOSITORY)
    before, after, within_pause = map(int, output.split())
    assert before > 200
    assert after < before / 2
    assert within_pause > after
