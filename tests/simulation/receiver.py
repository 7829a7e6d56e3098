"""What webhooks pushes to: endpoints that keep what they got, behind the port of its HTTP transport."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from services.webhooks.domain.delivery import Outcome
from tests.faults.checker.ledger import Arrival, Endpoint
from tests.simulation.network import ANSWER, REQUEST, LostError, Network

SERVER = "receiver"
# As the other timeouts of a story, shorter than in production.
TIMEOUT_S = 2.0
LATE_S = (0.1, 1.8)


class Receiver:
    """All endpoints. Each fails as often as its owner said, until all are well."""

    def __init__(self, rng: random.Random, endpoints: Iterable[Endpoint]) -> None:
        self._rng = rng
        self._endpoints = endpoints
        self.is_well = False
        # How often an endpoint fails, by the first part of its path.
        self.trouble: dict[str, float] = {}

    async def respond(self, url: str, event_id: str, body: bytes) -> int:
        """Keep the event, and return a status, soon, late or never."""
        endpoint = next(one for one in self._endpoints if one.url == url)
        trouble = 0.0 if self.is_well else self.trouble[urlsplit(url).path.split("/")[1]]
        kind = self._rng.choice(("error", "silent", "late")) if self._rng.random() < trouble else "well"
        endpoint.arrivals.append(Arrival(event_id, body, is_taken=kind in ("late", "well")))
        if kind == "silent":
            await asyncio.sleep(10 * TIMEOUT_S)
        if kind == "late":
            await asyncio.sleep(self._rng.uniform(*LATE_S))
        return 500 if kind == "error" else 204


class SimulatedTransport:
    """Sends requests to the receiver."""

    receiver: Receiver
    network: Network

    def __init__(self, *, now_us: Callable[[], int], **_options: Any) -> None:
        self._now_us = now_us

    async def start(self) -> None:
        """Do nothing: there are no connections."""

    stop = start

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Outcome:
        """Send one request; whatever happens is the outcome."""
        at_us, began_s = self._now_us(), asyncio.get_running_loop().time()
        status, error = None, None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self.network.travel(SERVER, REQUEST)
                answered = await self.receiver.respond(url, headers["webhook-id"], body)
                await self.network.travel(SERVER, ANSWER)
                status = answered
        except TimeoutError:
            error = "timeout"
        except LostError:
            error = "protocol"
        took_s = asyncio.get_running_loop().time() - began_s
        return Outcome(at_us=at_us, latency_ms=int(took_s * 1_000), status=status, error=error)
