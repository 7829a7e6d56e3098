"""Record what came of requests: first the deliveries, then the positions that depend on them."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from services.chassis.runtime.failpoints import failpoint
from services.webhooks.domain.delivery import Delivery, DeliveryState, Outcome
from services.webhooks.domain.endpoint import DisabledReason, Progress, is_failing_too_long
from services.webhooks.domain.health import EndpointHealth
from services.webhooks.domain.replay import ReplayState
from services.webhooks.flows.delivery_queue import DeliveryQueue
from services.webhooks.flows.push import Deps, Work

_recorded = failpoint("webhooks.recorded")


class LeaseLostError(Exception):
    """Another process sends to the endpoint now, or nobody does."""


class OutcomeRecorder:
    """Records beside the sender, so that a slow write holds up no request; what comes back meanwhile is recorded next.

    `is_over` is True once the endpoint is disabled or another process's. `on_recorded` is called after each write.
    """

    def __init__(
        self, queue: DeliveryQueue, health: EndpointHealth, deps: Deps, *, on_recorded: Callable[[], None]
    ) -> None:
        self._queue = queue
        self._health = health
        self._deps = deps
        self._on_recorded = on_recorded
        self._stored = health.progress(queue.endpoint.position)
        self._outcomes: list[tuple[Work, Outcome]] = []
        self._is_changed = False
        self._lock = asyncio.Lock()
        self.is_over = False

    @property
    def has_work(self) -> bool:
        """Whether anything is not recorded yet."""
        return self._is_changed or self._queue.replayed.is_changed

    def add(self, work: Work, outcome: Outcome) -> None:
        """Record this with the next write."""
        self._outcomes.append((work, outcome))
        self._is_changed = True

    async def record(self) -> None:
        """Record everything that was added before; raises `UnavailableError`, and may then be repeated."""
        async with self._lock:
            # Before the writes: what is added meanwhile must set it again.
            self._is_changed = False
            try:
                await self._record()
            except LeaseLostError:
                self.is_over = True
            except BaseException:
                self._is_changed = True
                raise
        self._on_recorded()

    async def _record(self) -> None:
        await self._save_deliveries()
        if self.is_over:
            # Disabled already, and maybe enabled again: what came back later says nothing about that.
            return
        await self._save_replay()
        await self._save_progress()
        if self._health.is_gone:
            await self._disable(DisabledReason.GONE)
        elif is_failing_too_long(self._stored, now_us=self._deps.now_us()):
            await self._disable(DisabledReason.FAILING)

    async def _save_deliveries(self) -> None:
        # A copy: more may come back while these are stored.
        outcomes = list(self._outcomes)
        if not outcomes:
            return
        deliveries = [self._judge(work, outcome) for work, outcome in outcomes]
        await self._deps.deliveries.save(deliveries)
        _recorded()
        del self._outcomes[: len(outcomes)]
        for (work, outcome), delivery in zip(outcomes, deliveries, strict=True):
            self._queue.close(work, outcome, due_us=delivery.due_us)

    def _judge(self, work: Work, outcome: Outcome) -> Delivery:
        """The delivery after this try."""
        delivery = replace(work.delivery, tries=(*work.delivery.tries, outcome), attempts=work.delivery.attempts + 1)
        if outcome.is_success:
            return replace(delivery, state=DeliveryState.DELIVERED, due_us=None)
        due_us = self._deps.schedule.next_try_us(
            delivery.attempts,
            now_us=outcome.ended_us,
            retry_after_us=outcome.retry_after_us,
            random=self._deps.random,
        )
        state = DeliveryState.FAILED if due_us is None else DeliveryState.PENDING
        return replace(delivery, state=state, due_us=due_us)

    async def _save_replay(self) -> None:
        replayed, reader = self._queue.replayed, self._queue.replayed.reader
        if reader is None or not replayed.is_changed:
            return
        replayed.is_changed = False
        progress = reader.progress()
        try:
            is_running = await self._deps.replays.save_progress(progress)
        except BaseException:
            replayed.is_changed = True
            raise
        if not is_running or progress.state is not ReplayState.RUNNING:
            replayed.end(reader)

    async def _save_progress(self) -> None:
        progress: Progress = self._health.progress(self._queue.new.position)
        if progress == self._stored:
            return
        if not await self._deps.endpoints.save_progress(self._queue.endpoint.id, self._deps.owner, progress):
            raise LeaseLostError
        self._stored = progress

    async def _disable(self, reason: DisabledReason) -> None:
        failing = replace(self._queue.endpoint, failing_since_us=self._health.failing_since_us)
        await self._deps.disable(failing, reason)
        self.is_over = True
