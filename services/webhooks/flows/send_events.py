"""Send an endpoint its events: the sender reads the feed, tries each event, and records what came of it.

Everything that is not recorded is read again by the next sender of the endpoint, so an event arrives at least once.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from msgspec import Struct
from msgspec.structs import replace

from services.chassis.runtime.failpoints import failpoint
from services.chassis.runtime.logs import logger
from services.webhooks import metrics
from services.webhooks.domain.circuit import MIN_PAUSE_US, Circuit
from services.webhooks.domain.delivery import Delivery, DeliveryState, Outcome
from services.webhooks.domain.endpoint import DisabledReason, Endpoint, Progress, is_failing_too_long, live_secrets
from services.webhooks.domain.event import FeedEvent, FeedQuery
from services.webhooks.domain.replay import Replay, ReplayReader, ReplayState
from services.webhooks.domain.retry import RetrySchedule
from services.webhooks.domain.signature import PrivateKey, build_headers
from services.webhooks.ports import DeliveryStore, EndpointStore, FeedReader, ReplayStore, SecretSealer, Transport

PAGE_ROWS = 100
MAX_PAUSE_S = 3_600.0
LEASE_PAUSE_S = 0.2
MICROS = 1_000_000
EXPIRED = "expired"
_LOG = logger(__name__)
_answered = failpoint("webhooks.answered")
_recorded = failpoint("webhooks.recorded")


class LeaseLostError(Exception):
    """Another process sends to the endpoint now, or nobody does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deps:
    """Everything that sending may touch. `now_us` is the time of day; `random` returns a number from 0 to 1."""

    feed: FeedReader
    endpoints: EndpointStore
    deliveries: DeliveryStore
    replays: ReplayStore
    secrets: SecretSealer
    transport: Transport
    keys: Sequence[PrivateKey]
    disable: Callable[[Endpoint, DisabledReason], Awaitable[None]]
    now_us: Callable[[], int]
    random: Callable[[], float]
    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    owner: str = "sender"
    max_in_flight: int = 16
    min_circuit_pause_us: int = MIN_PAUSE_US


class Work(Struct, frozen=True, kw_only=True):
    """An event to send: `delivery` has its tries so far; `replay` names the replay that it is part of."""

    event: FeedEvent
    delivery: Delivery
    replay: str | None = None
    is_fresh: bool = False


class EndpointSender:
    """Sends one endpoint its events; an ordered endpoint's one after the other.

    `step` records what has come back, starts what may be sent, and returns the pause until something is due; `wake` is
    called when a request has ended or there are new events. Nothing is sent when `is_leased` returns False.
    """

    def __init__(
        self, endpoint: Endpoint, deps: Deps, *, is_leased: Callable[[], bool], wake: Callable[[], None]
    ) -> None:
        self.endpoint = endpoint
        self._deps = deps
        self._is_leased = is_leased
        self._wake = wake
        self.circuit = Circuit(failures=endpoint.failures, min_pause_us=deps.min_circuit_pause_us)
        self._progress = Progress(endpoint.position, endpoint.failures, endpoint.failing_since_us)
        self._failing_since_us = endpoint.failing_since_us
        self._read_to = endpoint.position
        self._open: set[int] = set()
        self._fresh: deque[Work] = deque()
        self._repeated: deque[Work] = deque()
        self._retries: deque[Work] = deque()
        self._in_flight: dict[int, asyncio.Task[None]] = {}
        self._finished: list[tuple[Work, Outcome]] = []
        self._replay: ReplayReader | None = None
        self._may_have_new_events = True
        # When the next retry is due; 0 if unknown, None if there is none.
        self._retry_at_us: int | None = 0
        self.is_over = False

    # Changes that others make

    def on_new_events(self) -> None:
        """There may be new events in the feed."""
        self._may_have_new_events = True
        self._wake()

    def update(self, endpoint: Endpoint, replay: Replay | None) -> None:
        """Take over a changed configuration, and a replay that was asked for or stopped."""
        if endpoint.is_ordered != self.endpoint.is_ordered:
            self._retry_at_us = 0
        self.endpoint = endpoint
        running = self._replay.replay.id if self._replay else None
        if (replay.id if replay else None) != running:
            self._drop_replay()
            self._replay = ReplayReader(replay) if replay else None
            self._wake()

    # The step

    async def step(self) -> float | None:
        """Record, send, and return the pause in seconds; None when the endpoint is not this process's any more.

        Raises `UnavailableError`; the step may then be repeated.
        """
        try:
            await self._record()
        except LeaseLostError:
            self.is_over = True
        if self.is_over:
            return None
        await self._send()
        return self._pause_s()

    async def drain(self, timeout_s: float) -> None:
        """Wait for requests in flight and record them; cancel those that take too long. They are sent again."""
        if self._in_flight:
            await asyncio.wait(self._in_flight.values(), timeout=timeout_s)
        for task in list(self._in_flight.values()):
            task.cancel()
        try:
            await self._record()
        except LeaseLostError:
            self.is_over = True

    async def settle(self) -> None:
        """Return when no request is in flight."""
        if self._in_flight:
            await asyncio.wait(list(self._in_flight.values()))

    # Sending

    @property
    def _room(self) -> int:
        most = 1 if self.endpoint.is_ordered else self._deps.max_in_flight
        return self.circuit.room(in_flight=len(self._in_flight), max_in_flight=most, now_us=self._deps.now_us())

    async def _send(self) -> None:
        while self._room > 0 and self._is_leased():
            work = await self._next_work()
            if work is None:
                return
            if work.event.sequence in self._in_flight:
                # On its way as part of something else.
                self._close(work)
                await self._save_replay(0, 0)
                continue
            self._start(work)

    async def _next_work(self) -> Work | None:
        """Retries come first; of an ordered endpoint, even those that are not due yet hold everything else back."""
        if await self._load_retries():
            return self._retries.popleft()
        if self.endpoint.is_ordered and self._retry_at_us is not None:
            return None
        if await self._load_replay():
            return self._repeated.popleft()
        if self.endpoint.is_ordered and self._replay is not None:
            return None
        if await self._load_fresh():
            return self._fresh.popleft()
        return None

    async def _load_retries(self) -> bool:
        if self._retries or self._retry_at_us is None or self._retry_at_us > self._deps.now_us():
            return bool(self._retries)
        in_order = self.endpoint.is_ordered
        limit = 1 if in_order else PAGE_ROWS + len(self._in_flight)
        found = await self._deps.deliveries.find_pending(self.endpoint.id, limit=limit, in_order=in_order)
        now_us = self._deps.now_us()
        waiting = [each for each in found if each.sequence not in self._in_flight]
        due = [each for each in waiting if (each.due_us or 0) <= now_us]
        later = [each.due_us or 0 for each in waiting if each not in due]
        self._retry_at_us = min(later, default=None if len(found) < limit else now_us)
        if due and in_order:
            self._retry_at_us = now_us
        await self._queue_retries(due)
        return bool(self._retries)

    async def _queue_retries(self, due: Sequence[Delivery]) -> None:
        lacking = [each.sequence for each in due if each.body is None]
        events = {event.sequence: event for event in await self._read(lacking)} if lacking else {}
        expired = []
        for each in due:
            event = events.get(each.sequence)
            if each.body is not None:
                event = FeedEvent(each.sequence, each.event, each.type, each.body)
            if event is None:
                expired.append(replace(each, state=DeliveryState.FAILED, due_us=None))
            else:
                self._retries.append(Work(event=event, delivery=each))
        if expired:
            await self._deps.deliveries.save(expired, added_tries=0)

    async def _read(self, sequences: Collection[int]) -> Sequence[FeedEvent]:
        return await self._deps.feed.read_many(self.endpoint.site, sequences)

    async def _load_fresh(self) -> bool:
        while not self._fresh and self._may_have_new_events:
            # Before reading: an event that is appended meanwhile must set it again.
            self._may_have_new_events = False
            query = FeedQuery(
                site=self.endpoint.site, after=self._read_to, rows=PAGE_ROWS, types=tuple(sorted(self.endpoint.types))
            )
            events = await self._deps.feed.read(query)
            if events:
                self._may_have_new_events = True
                self._read_to = events[-1].sequence
                self._open.update(event.sequence for event in events)
                self._fresh.extend(self._work(event, is_fresh=True) for event in events)
        return bool(self._fresh)

    async def _load_replay(self) -> bool:
        reader = self._replay
        while reader is not None and not self._repeated and not reader.has_read_all():
            replay = reader.replay
            types = () if replay.end - replay.start == 1 else tuple(sorted(self.endpoint.types))
            query = FeedQuery(site=replay.site, after=reader.read_to, rows=PAGE_ROWS, types=types)
            page = await self._deps.feed.read(query)
            events = [event for event in page if event.sequence <= replay.end]
            delivered: Collection[int] = ()
            if replay.only_failed and events:
                found = [event.sequence for event in events]
                delivered = await self._deps.deliveries.find_delivered(self.endpoint.id, found)
            reader.replay = replace(replay, skipped=replay.skipped + len(delivered))
            reader.read_to = events[-1].sequence if len(events) == PAGE_ROWS else replay.end
            wanted = [event for event in events if event.sequence not in delivered]
            reader.open.update(event.sequence for event in wanted)
            self._repeated.extend(self._work(event, replay=replay.id) for event in wanted)
            if not self._repeated and reader.has_read_all():
                await self._save_replay(0, 0)
        return bool(self._repeated)

    def _work(self, event: FeedEvent, *, replay: str | None = None, is_fresh: bool = False) -> Work:
        delivery = Delivery(
            endpoint=self.endpoint.id,
            site=self.endpoint.site,
            sequence=event.sequence,
            event=event.id,
            type=event.type,
        )
        return Work(event=event, delivery=delivery, replay=replay, is_fresh=is_fresh)

    def _start(self, work: Work) -> None:
        if work.is_fresh and work.event.recorded_us:
            waited_us = self._deps.now_us() - work.event.recorded_us
            metrics.FIRST_TRY_SECONDS.observe(max(waited_us, 0) / MICROS)
        task = asyncio.create_task(self._attempt(work))
        self._in_flight[work.event.sequence] = task
        task.add_done_callback(lambda _: self._in_flight.pop(work.event.sequence, None))

    async def _attempt(self, work: Work) -> None:
        endpoint, deps = self.endpoint, self._deps
        now_us = deps.now_us()
        body = work.event.json.encode()
        try:
            secrets = [deps.secrets.open(endpoint.id, sealed) for sealed in live_secrets(endpoint, now_us=now_us)]
            headers = build_headers(work.event.id, body, at_s=now_us // MICROS, secrets=secrets, keys=deps.keys)
            outcome = await deps.transport.post(endpoint.url, headers, body)
        except Exception:  # noqa: BLE001 - a defect must not lose the event: it counts as a try that failed
            _LOG.exception("request not sent", endpointId=endpoint.id)
            outcome = Outcome(at_us=now_us, latency_ms=0, error="error")
        _answered()
        self._finished.append((work, outcome))
        self._wake()

    # Recording

    async def _record(self) -> None:
        """Store what came back: first the deliveries, then the progress that depends on them."""
        # A copy: more may come back while these are stored.
        finished = list(self._finished)
        if not finished:
            return
        gone = False
        deliveries = []
        for work, outcome in finished:
            deliveries.append(self._judge(work, outcome))
            gone = gone or outcome.is_gone
        await self._deps.deliveries.save(deliveries)
        _recorded()
        self._finished = self._finished[len(finished) :]
        for work, outcome in finished:
            self._count(outcome)
            self._close(work)
        if self.is_over:
            # Disabled already, and maybe enabled again: what came back later says nothing about that.
            return
        await self._save_replay(
            sum(work.replay is not None for work, _ in finished),
            sum(work.replay is not None and not outcome.is_success for work, outcome in finished),
        )
        await self._save_progress()
        if gone:
            await self._disable(DisabledReason.GONE)
        elif is_failing_too_long(self._progress, now_us=self._deps.now_us()):
            await self._disable(DisabledReason.FAILING)

    def _judge(self, work: Work, outcome: Outcome) -> Delivery:
        """The delivery after this try."""
        delivery = replace(work.delivery, tries=(*work.delivery.tries, outcome))
        if outcome.is_success:
            return replace(delivery, state=DeliveryState.DELIVERED, due_us=None)
        due_us = self._deps.schedule.next_try_us(
            delivery.attempts,
            now_us=outcome.at_us,
            retry_after_us=outcome.retry_after_us,
            random=self._deps.random,
        )
        state = DeliveryState.FAILED if due_us is None else DeliveryState.PENDING
        if due_us is not None:
            self._retry_at_us = due_us if self._retry_at_us is None else min(self._retry_at_us, due_us)
        return replace(delivery, state=state, due_us=due_us)

    def _count(self, outcome: Outcome) -> None:
        metrics.TRIES.labels(_describe(outcome)).inc()
        metrics.TRY_SECONDS.observe(outcome.latency_ms / 1_000)
        if outcome.is_success:
            self.circuit.succeeded()
            self._failing_since_us = None
            return
        self.circuit.failed(outcome.at_us)
        if outcome.retry_after_us:
            self.circuit.pause(outcome.at_us + outcome.retry_after_us)
        if self._failing_since_us is None:
            self._failing_since_us = outcome.at_us

    def _close(self, work: Work) -> None:
        """Its place in the feed is done with."""
        if work.is_fresh:
            self._open.discard(work.event.sequence)
        if self._replay is not None and work.replay == self._replay.replay.id:
            self._replay.open.discard(work.event.sequence)

    async def _save_progress(self) -> None:
        position = min(self._open) - 1 if self._open else self._read_to
        progress = Progress(position, self.circuit.failures, self._failing_since_us)
        if progress == self._progress:
            return
        if not await self._deps.endpoints.save_progress(self.endpoint.id, self._deps.owner, progress):
            raise LeaseLostError
        self._progress = progress

    async def _save_replay(self, sent: int, failed: int) -> None:
        reader = self._replay
        if reader is None or not (sent or reader.has_read_all()):
            return
        advanced = reader.advanced(sent, failed)
        if not await self._deps.replays.save_progress(advanced) or advanced.state is not ReplayState.RUNNING:
            self._drop_replay()
            return
        reader.replay = advanced

    def _drop_replay(self) -> None:
        self._replay = None
        self._repeated.clear()

    async def _disable(self, reason: DisabledReason) -> None:
        await self._deps.disable(replace(self.endpoint, failing_since_us=self._failing_since_us), reason)
        self.is_over = True

    def _pause_s(self) -> float:
        """Until a retry is due, or the circuit lets a request pass; requests and new events wake the sender."""
        if not self._is_leased():
            # Nobody tells when the lease is renewed.
            return LEASE_PAUSE_S
        now_us = self._deps.now_us()
        times = [] if self._retry_at_us is None else [self._retry_at_us]
        if self.circuit.opens_at_us > now_us:
            times = [self.circuit.opens_at_us]
        elif self._room <= 0:
            return MAX_PAUSE_S
        return min([max(at_us - now_us, 0) / MICROS for at_us in times] + [MAX_PAUSE_S])


def _describe(outcome: Outcome) -> str:
    if outcome.status is None:
        return (outcome.error or "error").partition(":")[0]
    return f"{outcome.status // 100}xx"
