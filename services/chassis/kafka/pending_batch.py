"""Waits for the acknowledgements of batches without tasks."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiokafka.errors import ProducerClosed

OnSettled = Callable[[BaseException | None], None]


class PendingBatch:
    """Calls `on_settled` once: with None, with the exception of `sent`, or with a `TimeoutError`.

    A batch that has timed out may still be acknowledged, or fail: that is not reported.
    """

    __slots__ = ("_on_settled",)

    def __init__(self, sent: asyncio.Future[Any], on_settled: OnSettled) -> None:
        self._on_settled: OnSettled | None = on_settled
        sent.add_done_callback(self._on_done)

    @property
    def is_settled(self) -> bool:
        """Whether the outcome has been reported."""
        return self._on_settled is None

    def settle(self, error: BaseException | None) -> None:
        """Report the outcome, unless one has been reported."""
        on_settled, self._on_settled = self._on_settled, None
        if on_settled is not None:
            on_settled(error)

    def _on_done(self, sent: asyncio.Future[Any]) -> None:
        self.settle(ProducerClosed() if sent.cancelled() else sent.exception())


class PendingBatches:
    """Settles batches that are not acknowledged within `timeout_s`; one timer serves them all."""

    def __init__(self, *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        # With their deadlines, the earliest first.
        self._batches: deque[tuple[float, PendingBatch]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, sent: asyncio.Future[Any], on_settled: OnSettled) -> None:
        """Settle a batch when `sent` is done, or when it takes too long."""
        loop = sent.get_loop()
        batches = self._batches
        batches.append((loop.time() + self._timeout_s, PendingBatch(sent, on_settled)))
        while batches[0][1].is_settled:
            batches.popleft()
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_s, self._on_timer, loop)

    def _on_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now, batches = loop.time(), self._batches
        while batches and (batches[0][1].is_settled or batches[0][0] <= now):
            batches.popleft()[1].settle(TimeoutError())
        if batches:
            self._timer = loop.call_later(batches[0][0] - now, self._on_timer, loop)
