"""Clients of the feed: readers that follow it from any cursor while it grows, and owners of endpoints."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from tests.faults.checker.api import NoAnswerError
from tests.faults.checker.clients import RETRIED, Clients
from tests.faults.checker.evidence import ATTEMPTS, PAUSE_S, Collector
from tests.faults.checker.feed import feed
from tests.faults.checker.ledger import Endpoint, Evidence, Reading

PAGE = 200
MAX_ATTEMPTS = 25


class FeedClients:
    """All clients of the feed. `head` returns the sequence of its last event that will not be rolled back."""

    def __init__(self, clients: Clients, head: Callable[[], int]) -> None:
        self._clients = clients
        self._head = head
        # Cursors that pages had, and the sequences behind which they point.
        self._cursors: list[tuple[str, int]] = [("", 0)]

    async def add_endpoint(self, url: str, *, types: Sequence[str], is_ordered: bool) -> None:
        """Ask for an endpoint until there is one. Each attempt has an address of its own: some may exist unknown."""
        clients = self._clients
        for attempt in range(MAX_ATTEMPTS):
            endpoint = Endpoint(f"{url}/{attempt}", types, is_ordered, self._head())
            clients.ledger.endpoints.append(endpoint)
            body = {"url": endpoint.url, "types": list(types), "ordered": is_ordered}
            try:
                response = await clients.api.call("events", "POST", "/endpoints", body=body)
            except NoAnswerError:
                await clients.api.sleep(0.3)
                continue
            clients.note(response)
            if response.status == 201:
                endpoint.head_after = self._head()
            if response.status not in RETRIED | clients.tolerated:
                if response.status >= 400:
                    clients.note_refusal(response)
                return
            await clients.api.sleep(0.5)

    async def read(self, *, which: float, rows: int, waits: bool, is_over: Callable[[], bool]) -> None:
        """Follow the feed from one of the cursors that pages had so far, until it is over and nothing is left."""
        clients = self._clients
        cursor, sequence = self._cursors[int(which * len(self._cursors))]
        reading = Reading(sequence)
        clients.ledger.readings.append(reading)
        headers = {"Prefer": "wait=1"} if waits else {}
        while True:
            response = await clients.get("events", _page(cursor, rows), headers)
            if response is None or response.status != 200:
                if response is not None and response.status < 500:
                    clients.note_refusal(response)
                if is_over():
                    return
                await clients.api.sleep(0.3)
                continue
            page = response.json["result"]
            reading.events += page
            cursor = response.json["pagination"]["nextPageToken"]
            sequence = page[-1]["sequence"] if page else sequence
            self._cursors.append((cursor, sequence))
            if not page and is_over():
                return
            await clients.api.sleep(clients.rng.choice((0.0, 0.02) if page else (0.2, 0.7)))

    async def collect(self, collector: Collector, evidence: Evidence) -> None:
        """Read the feed until it and its endpoints have what they should, or for a while: retries take their time."""
        for _ in range(ATTEMPTS):
            evidence.feed = await _whole_feed(collector)
            if not any(feed(self._clients.ledger, evidence)):
                return
            await self._clients.api.sleep(PAUSE_S)


async def _whole_feed(collector: Collector) -> list[Any]:
    events: list[Any] = []
    cursor = ""
    while True:
        page = await collector.get("events", _page(cursor, PAGE))
        events += page["result"]
        cursor = page["pagination"]["nextPageToken"]
        if not page["result"]:
            return events


def _page(cursor: str, rows: int) -> str:
    return f"/events?rows={rows}" + (f"&after={quote(cursor)}" if cursor else "")
