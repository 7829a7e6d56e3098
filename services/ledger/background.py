"""Periodic tasks of the ledger: fold and publish movements, report how many wait."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.errors import ContentionError
from services.chassis.runtime.logs import logger
from services.ledger import metrics
from services.ledger.flows import audit

IDLE_INTERVAL_S = 0.5
CONFLICT_INTERVAL_S = 0.05
_LOG = logger(__name__)


class Drain(BackgroundTask):
    """Runs `step` again at once while it returns that more waits, otherwise after `interval_s` or `wake()`.

    `interval_s` must be short: what other replicas record wakes nobody here.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[int]],
        *,
        start_when: Callable[[], bool],
        interval_s: float = IDLE_INTERVAL_S,
    ) -> None:
        async def run() -> float:
            try:
                return 0.0 if start_when() and await step() else interval_s
            except ContentionError:
                # Another replica does the same.
                return CONFLICT_INTERVAL_S

        super().__init__(name, run, retry_s=IDLE_INTERVAL_S, retry_after_defect_s=IDLE_INTERVAL_S)


class Auditor:
    """Audits all sites, on one replica at a time, once in an interval."""

    def __init__(self, deps: audit.Deps, take_turn: Callable[[], Awaitable[bool]]) -> None:
        self._deps = deps
        self._take_turn = take_turn

    async def run(self) -> None:
        """Audit, if no other replica has done so in this interval. Raises `UnavailableError`."""
        if not await self._take_turn():
            return
        for result in await audit.audit_all(self._deps):
            if result.differing:
                _LOG.error("sums differ from the entries", site=result.site, sums=result.differing)


class PendingMovements(Protocol):
    """Counts movements."""

    async def pending(self, *, is_folded: bool) -> tuple[int, int | None]:
        """Return how many movements wait to be folded, or to be published, and when the oldest was made."""


async def update_movement_gauges(movements: PendingMovements, now_us: Callable[[], int]) -> None:
    """Set the gauges of waiting movements. Raises `UnavailableError`; the gauges then keep their values."""
    for step, is_folded in (("fold", False), ("publish", True)):
        count, oldest_us = await movements.pending(is_folded=is_folded)
        age_us = 0 if oldest_us is None else max(now_us() - oldest_us, 0)
        metrics.MOVEMENTS_PENDING.labels(step).set(count)
        metrics.OLDEST_MOVEMENT.labels(step).set(age_us / 1_000_000)
