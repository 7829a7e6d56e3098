"""Open loop: questions leave at random at a rate, whatever becomes of those before.

Who asks only after the last answer never asks while the service is busy, and so never learns what waiting costs.
"""

import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import NamedTuple

from bench.raw_http import Answer

LINES = 16
# A timer is late by as much: the rest is waited for awake.
LATE_S = 0.0003
_RECEIVED = 2**20


class Pace(NamedTuple):
    """A question's requests, and how many of them leave in a second."""

    requests: Iterator[bytes]
    per_second: float


def answered(port: int, asked: Mapping[str, Pace], *, repeats: int) -> dict[str, Sequence[float]]:
    """Ask every question so many times; how long each answer took from when its question was due, in seconds.

    Blocks: call it in a thread that has nothing else to do.
    """
    lines = [_Line(port) for _ in range(LINES)]
    times = {name: _at_a_rate(lines, pace, repeats) for name, pace in asked.items()}
    for line in lines:
        line.close()
    return times


class _Line:
    """A connection without an event loop, which would take longer than some of the answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def fileno(self) -> int:
        return self._socket.fileno()

    def ask(self, request: bytes, *, due: float) -> None:
        self.due, self._answer = due, Answer()
        self._socket.sendall(request)

    def hears_the_end(self) -> bool:
        """Read what has come; whether that was the last of the answer."""
        received = self._socket.recv(_RECEIVED)
        if not received:
            raise ConnectionResetError("the server hung up")
        return self._answer.is_whole_with(received)

    def close(self) -> None:
        self._socket.close()


def _at_a_rate(lines: Sequence[_Line], pace: Pace, count: int) -> Sequence[float]:
    chance = Random(count)
    gaps = (chance.expovariate(pace.per_second) for _ in range(count))
    dues = accumulate(gaps, initial=perf_counter())
    free, busy, times = list(lines), set[_Line](), list[float]()
    due = next(dues)
    while len(times) < count:
        while free and due <= perf_counter() and len(times) + len(busy) < count:
            line = free.pop()
            line.ask(next(pace.requests), due=due)
            busy.add(line)
            due = next(dues)
        for line in _answering(busy, due if free else None):
            if line.hears_the_end():
                times.append(perf_counter() - line.due)
                busy.remove(line)
                free.append(line)
    return times


def _answering(busy: set[_Line], until: float | None) -> Sequence[_Line]:
    """Those on which something has come, which is waited for until then at the longest."""
    within_s = None if until is None else max(until - LATE_S - perf_counter(), 0)
    # Other ways of waiting know whole milliseconds only.
    return select.select(busy, (), (), within_s)[0]
