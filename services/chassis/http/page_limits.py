"""Bounds the large responses that are rendered, and the bytes that are being sent, in total and for each client."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from time import monotonic
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from aiohttp import web

from services.chassis.http.recent_clients import RecentClients
from services.chassis.runtime import metrics
from services.chassis.runtime.errors import ContentionError, Problem

MIB = 1024 * 1024
# A page of large records takes some 40 MB while it is rendered.
MAX_RENDERING = 2
MAX_UNSENT_BYTES, MAX_UNSENT_BYTES_PER_CLIENT = 32 * MIB, 12 * MIB
# A body of this size takes a millisecond or two.
LARGE_BYTES = 65_536
# A shorter rendering is followed by no pause. A longer pause would punish a client for a database that is slow.
MIN_PAUSE_S, MAX_PAUSE_S = 0.001, 2.0
# A client that has sent nothing for so long is delayed by nobody.
ACTIVE_S = 1.0
# Requests of a client that wait for a turn.
MAX_WAITING_PER_CLIENT = 50
SEND_TIMEOUT_S = 60.0
REFUSED = metrics.counter(
    "pages_refused_total",
    "Large responses refused: too many wait, or are unsent of one client (429) or of all, `unsent` (503).",
    ["limit"],
)
for _limit in ("waiting", "unsent_of_client", "unsent"):
    REFUSED.labels(_limit)


def _call_later(delay_s: float, function: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(delay_s, function)


class Rendering:
    """A rendering in progress; no pause follows if it turns out to be small."""

    is_large = True

    def set_size(self, body_bytes: int) -> None:
        """Note how large the body has become."""
        self.is_large = body_bytes > LARGE_BYTES


class PageLimits:
    """What the pages of one process may take.

    A client's large pages are rendered one after the other. While other clients are active, each is followed by a pause
    as long as it took: a client then has at most half of the event loop's time, and cannot delay others for long.
    """

    def __init__(
        self,
        api: str,
        recent_clients: RecentClients,
        *,
        clock_s: Callable[[], float] = monotonic,
        call_later: Callable[[float, Callable[[], None]], object] = _call_later,
    ) -> None:
        """`api` is what a response of status 503 calls unavailable."""
        self._api = api
        self._recent_clients = recent_clients
        self._clock_s = clock_s
        self._call_later = call_later
        self._rendering = asyncio.Semaphore(MAX_RENDERING)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()
        self._unsent: Counter[str] = Counter()

    @asynccontextmanager
    async def rendering(self, client_id: str, *, is_large: bool = True) -> AsyncIterator[Rendering]:
        """Wait until the client may have a large page rendered; a small one waits for nothing.

        Raises a 429 or `ContentionError` beyond the limits.
        """
        if not is_large:
            self.check_unsent(client_id)
            yield Rendering()
            return
        if self._waiting[client_id] >= MAX_WAITING_PER_CLIENT:
            REFUSED.labels("waiting").inc()
            raise _too_many("wait")
        with _counted(self._waiting, client_id, 1):
            async with self._turn(client_id, self._rendering) as rendering:
                self.check_unsent(client_id)
                yield rendering

    def turn(self, client_id: str) -> AbstractAsyncContextManager[Rendering]:
        """Wait until no other response of the client is being rendered, and the pause after the last one is over."""
        return self._turn(client_id, nullcontext())

    @asynccontextmanager
    async def _turn(self, client_id: str, place: AbstractAsyncContextManager[None]) -> AsyncIterator[Rendering]:
        """Hold the client's turn, for a pause longer if it is not alone, and a place of those for all clients."""
        turn = self._turns.get(client_id)
        if turn is None:
            turn = self._turns[client_id] = asyncio.Lock()
        await turn.acquire()
        rendering, began_s, took_s = Rendering(), 0.0, 0.0
        try:
            async with place:
                began_s = self._clock_s()
                try:
                    yield rendering
                finally:
                    # Not its CPU time: where that is scarce, others would get none during such a pause.
                    took_s = self._clock_s() - began_s
        finally:
            if rendering.is_large and took_s >= MIN_PAUSE_S and self._are_others_active(client_id, began_s, took_s):
                self._call_later(min(took_s, MAX_PAUSE_S), turn.release)
            else:
                turn.release()

    def _are_others_active(self, client_id: str, began_s: float, took_s: float) -> bool:
        """Whether another client has sent a request during the rendering, or shortly before."""
        since_s = min(began_s, began_s + took_s - ACTIVE_S)
        return self._recent_clients.latest_of_others_s(client_id) >= since_s

    def check_unsent(self, client_id: str) -> None:
        """Raise a 429 if too many bytes of the client are unsent, `ContentionError` if too many of all clients are."""
        if self._unsent[client_id] >= MAX_UNSENT_BYTES_PER_CLIENT:
            REFUSED.labels("unsent_of_client").inc()
            raise _too_many("are being sent")
        if self._unsent.total() >= MAX_UNSENT_BYTES:
            REFUSED.labels("unsent").inc()
            raise ContentionError(self._api)

    def response(self, client_id: str, body: bytes, **options: Any) -> web.Response:
        """A response whose body counts as unsent until the client has read most of it."""
        return _PageResponse(partial(self.sending, client_id, len(body)), body=body, **options)

    def json_response(self, client_id: str, body: object, *, headers: Mapping[str, str]) -> web.Response:
        """Such a response, of status 200, with the body as JSON."""
        encoded = msgspec.json.encode(body)
        return self.response(client_id, encoded, headers=headers, content_type="application/json", charset="utf-8")

    @asynccontextmanager
    async def sending(self, client_id: str, size: int, request: web.BaseRequest | None) -> AsyncIterator[None]:
        """Count bytes as unsent during the block, which sends them.

        Disconnects a client that reads too slowly, and raises `ConnectionResetError`.
        """
        transport = None if request is None else request.transport
        with _counted(self._unsent, client_id, size):
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    yield
            except TimeoutError:
                if isinstance(transport, asyncio.WriteTransport):
                    transport.abort()
                raise ConnectionResetError("the client reads too slowly") from None


class _PageResponse(web.Response):
    def __init__(
        self, sending: Callable[[web.BaseRequest | None], AbstractAsyncContextManager[None]], **options: Any
    ) -> None:
        super().__init__(**options)
        self._sending = sending

    async def write_eof(self, data: bytes = b"") -> None:
        async with self._sending(self._req):
            await super().write_eof(data)


@contextmanager
def _counted(counter: Counter[str], key: str, amount: int) -> Iterator[None]:
    """Add to the counter during the block; a key whose count is 0 takes no memory."""
    counter[key] += amount
    try:
        yield
    finally:
        counter[key] -= amount
        if not counter[key]:
            del counter[key]


def _too_many(what: str) -> Problem:
    return Problem(429, "RATE_LIMITED", f"too many pages of this client {what}", headers={"Retry-After": "1"})
