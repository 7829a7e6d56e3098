"""Send an endpoint its events. What came of each is recorded beside that (`record_outcomes`).

Everything that is not recorded is read again by the next sender of the endpoint, so an event arrives at least once.
"""

import asyncio
from collections.abc import Callable

from services.chassis.runtime.failpoints import failpoint
from services.chassis.runtime.logs import logger
from services.webhooks import metrics
from services.webhooks.domain.circuit import Circuit
from services.webhooks.domain.delivery import Outcome
from services.webhooks.domain.endpoint import Endpoint, live_secrets
from services.webhooks.domain.health import EndpointHealth
from services.webhooks.domain.replay import Replay
from services.webhooks.domain.signature import build_headers
from services.webhooks.flows.delivery_queue import DeliveryQueue
from services.webhooks.flows.push import Deps, Work
from services.webhooks.flows.record_outcomes import OutcomeRecorder

MAX_PAUSE_S = 3_600.0
LEASE_PAUSE_S = 0.2
MICROS = 1_000_000
# Outcomes that are not recorded, for each request that may be in flight: a process that dies sends these events again.
MAX_UNRECORDED = 4
_LOG = logger(__name__)
_answered = failpoint("webhooks.answered")


class EndpointSender:
    """Sends one endpoint its events; an ordered endpoint's one after the other.

    Two loops run it: `step` starts what may be sent, `record` records what has come back; each returns the pause until
    it is to run again, and None when the endpoint is not this process's any more. `wake_sender` is called when there is
    something to send, `wake_recorder` when there is something to record. Nothing is sent unless `is_leased`.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        deps: Deps,
        *,
        is_leased: Callable[[], bool],
        wake_sender: Callable[[], None],
        wake_recorder: Callable[[], None],
    ) -> None:
        self._deps = deps
        self._is_leased = is_leased
        self._wake_sender = wake_sender
        self._wake_recorder = wake_recorder
        self._queue = DeliveryQueue(endpoint, deps)
        self._health = EndpointHealth(endpoint, min_pause_us=deps.min_circuit_pause_us)
        self._recorder = OutcomeRecorder(self._queue, self._health, deps, on_recorded=wake_sender)
        self._in_flight: dict[int, asyncio.Task[None]] = {}

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint's present configuration."""
        return self._queue.endpoint

    @property
    def circuit(self) -> Circuit:
        """What restricts requests to an endpoint that fails."""
        return self._health.circuit

    @property
    def is_over(self) -> bool:
        """Whether the endpoint is disabled or another process's."""
        return self._recorder.is_over

    @property
    def is_idle(self) -> bool:
        """Whether no request is in flight and everything is recorded."""
        return not self._in_flight and not self._recorder.has_work

    def on_new_events(self) -> None:
        """There may be new events in the feed."""
        self._queue.new.on_new_events()
        self._wake_sender()

    def update(self, endpoint: Endpoint, replay: Replay | None) -> None:
        """Take over a changed configuration, and a replay that was asked for or stopped."""
        if endpoint.is_ordered != self.endpoint.is_ordered:
            self._queue.retries.due_us = 0
        self._queue.endpoint = endpoint
        if self._queue.replayed.follow(replay):
            self._wake_sender()

    async def step(self) -> float | None:
        """Start what may be sent; raises `UnavailableError`."""
        if self.is_over:
            return None
        while self._room > 0 and self._is_leased() and (work := await self._queue.take()) is not None:
            self._start(work)
        if self._recorder.has_work:
            self._wake_recorder()
        return self._pause_s()

    async def record(self) -> float | None:
        """Record what has come back; raises `UnavailableError`, and may then be repeated."""
        if self._recorder.has_work:
            await self._recorder.record()
        return None if self.is_over else MAX_PAUSE_S

    async def drain(self, timeout_s: float) -> None:
        """Wait for requests in flight and record them; cancel those that take too long. They are sent again."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()), timeout=timeout_s)
        for task in list(self._in_flight.values()):
            task.cancel()
        await self._recorder.record()

    async def settle(self) -> None:
        """Return when no request is in flight."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))

    @property
    def _room(self) -> int:
        """How many requests may be started."""
        most = 1 if self.endpoint.is_ordered else self._deps.max_in_flight
        # Of an ordered endpoint, what came of an event decides what is next.
        unrecorded = 1 if self.endpoint.is_ordered else most * MAX_UNRECORDED
        room = self.circuit.room(in_flight=len(self._in_flight), max_in_flight=most, now_us=self._deps.now_us())
        return min(room, unrecorded - self._queue.active)

    def _start(self, work: Work) -> None:
        if work.is_fresh and work.event.recorded_us:
            waited_us = self._deps.now_us() - work.event.recorded_us
            metrics.FIRST_TRY_SECONDS.observe(max(waited_us, 0) / MICROS)
        self._in_flight[work.event.sequence] = asyncio.create_task(self._attempt(work))

    async def _attempt(self, work: Work) -> None:
        try:
            outcome = await self._post(work)
        finally:
            del self._in_flight[work.event.sequence]
        _answered()
        metrics.TRIES.labels(_describe(outcome)).inc()
        metrics.TRY_SECONDS.observe(outcome.latency_ms / 1_000)
        self._health.count(outcome)
        self._recorder.add(work, outcome)
        self._wake_recorder()
        self._wake_sender()

    async def _post(self, work: Work) -> Outcome:
        endpoint, deps = self.endpoint, self._deps
        now_us = deps.now_us()
        body = work.event.json.encode()
        try:
            secrets = [deps.secrets.open(endpoint.id, sealed) for sealed in live_secrets(endpoint, now_us=now_us)]
            headers = build_headers(work.event.id, body, at_s=now_us // MICROS, secrets=secrets, keys=deps.keys)
            return await deps.transport.post(endpoint.url, headers, body)
        except Exception:  # noqa: BLE001 - a defect must not lose the event: it counts as a try that failed
            _LOG.exception("request not sent", endpointId=endpoint.id)
            return Outcome(at_us=now_us, latency_ms=0, error="error")

    def _pause_s(self) -> float:
        """Until a retry is due, or the circuit lets a request pass; requests, records and new events end it early."""
        if not self._is_leased():
            # Nobody tells when the lease is renewed.
            return LEASE_PAUSE_S
        now_us = self._deps.now_us()
        times = [] if self._queue.retries.due_us is None else [self._queue.retries.due_us]
        if self.circuit.opens_at_us > now_us:
            times = [self.circuit.opens_at_us]
        elif self._room <= 0:
            return MAX_PAUSE_S
        return min([max(at_us - now_us, 0) / MICROS for at_us in times] + [MAX_PAUSE_S])


def _describe(outcome: Outcome) -> str:
    if outcome.status is None:
        return (outcome.error or "error").partition(":")[0]
    return f"{outcome.status // 100}xx"
