"""Open loop: requests are sent at random times at a fixed rate, whether or not earlier ones are answered.

A client that waits for each response never sends while the service is busy, and so never measures queueing.
"""

import select
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from random import Random
from time import perf_counter
from typing import NamedTuple

from bench.raw_http import BlockingConnection

CONNECTIONS = 16
# Timers are late by up to this much: wait the rest in a busy loop.
TIMER_SLACK_S = 0.0003


class Rate(NamedTuple):
    """The requests of a query, and how many of them are sent per second."""

    requests: Iterator[bytes]
    per_second: float


def open_loop(port: int, rates: Mapping[str, Rate], *, repeats: int) -> dict[str, Sequence[float]]:
    """Send each query `repeats` times; return the seconds from when each request was due to its response.

    Blocks: call it in a thread that has nothing else to do.
    """
    connections = [BlockingConnection(port) for _ in range(CONNECTIONS)]
    try:
        return {name: _measure(connections, rate, repeats) for name, rate in rates.items()}
    finally:
        for connection in connections:
            connection.close()


def _measure(connections: Sequence[BlockingConnection], rate: Rate, count: int) -> Sequence[float]:
    generator = Random(count)
    gaps = (generator.expovariate(rate.per_second) for _ in range(count))
    dues = accumulate(gaps, initial=perf_counter())
    free, busy, times = list(connections), dict[BlockingConnection, float](), list[float]()
    due = next(dues)
    while len(times) < count:
        while free and due <= perf_counter() and len(times) + len(busy) < count:
            connection = free.pop()
            connection.send(next(rate.requests))
            busy[connection] = due
            due = next(dues)
        for connection in _readable(busy, due if free else None):
            if connection.receive():
                times.append(perf_counter() - busy.pop(connection))
                free.append(connection)
    return times


def _readable(busy: Mapping[BlockingConnection, float], until: float | None) -> Sequence[BlockingConnection]:
    """Return the connections with received data, waiting for some until then at most."""
    timeout_s = None if until is None else max(until - TIMER_SLACK_S - perf_counter(), 0)
    # Unlike poll and epoll, select waits with a resolution below a millisecond.
    return select.select(list(busy), (), (), timeout_s)[0]
