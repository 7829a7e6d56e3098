"""Leases endpoints and runs a sender for each."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from services.chassis.runtime.background import BackgroundTask
from services.chassis.runtime.errors import UnavailableError
from services.chassis.runtime.logs import logger
from services.webhooks import metrics
from services.webhooks.domain.endpoint import Endpoint
from services.webhooks.domain.leases import Leases
from services.webhooks.domain.replay import Replay
from services.webhooks.flows.push import Deps
from services.webhooks.flows.send_events import EndpointSender
from services.webhooks.ports import LeaseStore

MICROS = 1_000_000
# Requests that are in flight when the process stops have this time to end.
DRAIN_S = 3.0
# A sender that could not stop in time must not send when another process does.
SAFETY_MARGIN = 0.2
_LOG = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Running:
    """A sender and the tasks that run it."""

    sender: EndpointSender
    sending: BackgroundTask
    recording: BackgroundTask

    async def stop(self) -> None:
        """Stop sending, and record what comes back soon."""
        await self.sending.stop()
        try:
            await self.sender.drain(DRAIN_S)
        except UnavailableError:
            _LOG.warning("requests not recorded, they will be repeated", endpointId=self.sender.endpoint.id)
        except Exception:  # noqa: BLE001 - a sender that is half stopped would send no more events
            _LOG.exception("requests not recorded", endpointId=self.sender.endpoint.id)
        await self.recording.stop()


class Dispatcher(BackgroundTask):
    """Leases its share of the endpoints, and renews its leases three times in their duration.

    A process that dies keeps its leases until they expire; then others continue. One that has more than its share,
    because another process has started, stops sending to some before it releases them.
    """

    def __init__(
        self,
        deps: Deps,
        leases: LeaseStore,
        *,
        lease_s: float,
        clock_s: Callable[[], float],
        start_when: Callable[[], bool] = lambda: True,
    ) -> None:
        self._interval_s = lease_s / 3

        async def run() -> float:
            began_s = clock_s()
            if start_when():
                await self.renew()
            # Stopping a sender may take `DRAIN_S`: the next renewal is not later for that.
            return max(self._interval_s - (clock_s() - began_s), 0.0)

        super().__init__("dispatcher", run, retry_s=min(self._interval_s, 1.0))
        self._deps = deps
        self._leases = leases
        self._lease_s = lease_s
        self._now_s = clock_s
        self._leased_until_s = 0.0
        self._running: dict[str, _Running] = {}
        self._claiming: asyncio.Task[Leases] | None = None

    @property
    def senders(self) -> Mapping[str, EndpointSender]:
        """The senders by their endpoint."""
        return {endpoint_id: running.sender for endpoint_id, running in self._running.items()}

    @property
    def is_leased(self) -> bool:
        """Whether the leases still hold."""
        return self._now_s() < self._leased_until_s

    def on_new_events(self, site: int | None) -> None:
        """There are new events of this site; None: maybe of any."""
        for running in self._running.values():
            if site is None or running.sender.endpoint.site == site:
                running.sender.on_new_events()

    async def renew(self) -> None:
        """Lease endpoints, start and stop senders; raises `UnavailableError`."""
        began_s = self._now_s()
        # Not cancelled with this step: Motor would go on in a thread, and claim again what `stop` has released.
        self._claiming = asyncio.create_task(self._leases.claim(self._deps.owner, lease_us=int(self._lease_s * MICROS)))
        leases = await asyncio.shield(self._claiming)
        self._leased_until_s = began_s + self._lease_s * (1 - SAFETY_MARGIN)
        kept = {endpoint.id: endpoint for endpoint in leases.kept}
        replays = {replay.endpoint: replay for replay in await self._deps.replays.find_running(list(kept))}
        # Disabled and enabled again, or leased again: the position may be another one.
        over = {endpoint_id for endpoint_id, running in self._running.items() if running.sender.is_over}
        for endpoint_id in kept.keys() - over:
            await self._update(kept[endpoint_id], replays.get(endpoint_id))
        await self._stop_all(over | (self._running.keys() - kept.keys()))
        for endpoint_id in kept.keys() & over:
            await self._update(kept[endpoint_id], replays.get(endpoint_id))
        if leases.excess:
            await self._leases.release(self._deps.owner, [endpoint.id for endpoint in leases.excess])
        metrics.SENDERS.set(len(self._running))
        metrics.OPEN_CIRCUITS.set(sum(not each.sender.circuit.is_closed for each in self._running.values()))

    async def stop(self) -> None:
        """Stop all senders, and let other processes continue at once."""
        await super().stop()
        await self._stop_all(set(self._running))
        if self._claiming is not None:
            await asyncio.wait([self._claiming])
        try:
            await self._leases.leave(self._deps.owner)
        except UnavailableError:
            _LOG.warning("leases not released, they will expire")

    async def _update(self, endpoint: Endpoint, replay: Replay | None) -> None:
        running = self._running.get(endpoint.id)
        if running is None:
            running = self._running[endpoint.id] = await self._start(endpoint)
        running.sender.update(endpoint, replay)

    async def _start(self, endpoint: Endpoint) -> _Running:
        def wake_sender() -> None:
            running.sending.wake()

        def wake_recorder() -> None:
            running.recording.wake()

        sender = EndpointSender(
            endpoint,
            self._deps,
            is_leased=lambda: self.is_leased,
            wake_sender=wake_sender,
            wake_recorder=wake_recorder,
        )
        running = _Running(
            sender,
            BackgroundTask(f"sender {endpoint.id}", sender.step),
            BackgroundTask(f"recorder {endpoint.id}", sender.record),
        )
        await running.sending.start()
        await running.recording.start()
        return running

    async def _stop_all(self, endpoint_ids: Collection[str]) -> None:
        # Together: the other leases have to be renewed in time.
        await asyncio.gather(*(self._stop_one(endpoint_id) for endpoint_id in list(endpoint_ids)))

    async def _stop_one(self, endpoint_id: str) -> None:
        # Forgotten only afterwards: if this is cancelled, `stop` must find the sender.
        await self._running[endpoint_id].stop()
        del self._running[endpoint_id]
