"""Imports at a steady rate in the background."""

import asyncio
import json
from collections import Counter
from time import monotonic
from types import TracebackType
from typing import Self

import aiohttp

from tests.e2e.customer import BASES, Customer

PAUSE_S = 0.005
REQUEST_TIMEOUT_S = 40


class BackgroundLoad:
    """Sends `rate` imports per second in an open loop, each with the next of `tokens`.

    `answers` counts the responses by status or kind of failure; `failures` describes each failure. `stalled_s` is the
    longest time for which this process itself was not scheduled: latency of that time says nothing about the services.
    It uses connections of its own, so that other requests of a test do not queue behind it.
    """

    def __init__(self, customer: Customer, *, rate: int) -> None:
        self.tokens: list[str] = []
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._began = monotonic()
        self.slowest_s = 0.0
        self.stalled_s = 0.0
        self._customer = customer
        self._rate = rate
        self._url = f"{customer.base}{BASES['import']}/{customer.tenant.api_key}/orders"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S))
        self._stopping = asyncio.Event()
        self._driver: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._driver = asyncio.create_task(self._drive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        if self._driver is not None:
            await self._driver
        await self._session.close()

    async def _drive(self) -> None:
        began, sent = monotonic(), 0
        async with asyncio.TaskGroup() as requests:
            while not self._stopping.is_set():
                while sent < (monotonic() - began) * self._rate:
                    requests.create_task(self._send(self.tokens[sent % len(self.tokens)]))
                    sent += 1
                slept_at = monotonic()
                await asyncio.sleep(PAUSE_S)
                self.stalled_s = max(self.stalled_s, monotonic() - slept_at - PAUSE_S)

    async def _send(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = json.dumps([self._customer.order()]).encode()
        began = monotonic()
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                await response.read()
                self.answers[str(response.status)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.answers[type(error).__name__] += 1
            self.failures.append(f"{began - self._began:.3f} s, after {monotonic() - began:.3f} s: {error!r}")
        self.slowest_s = max(self.slowest_s, monotonic() - began)
