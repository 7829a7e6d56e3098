"""Reads the feed while it grows and at last, and the ledger's sums."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any
from urllib.parse import quote

from tests.faults.checker.api import Api, NoAnswerError
from tests.faults.checker.downstream import Downstream
from tests.faults.checker.evidence import Collector
from tests.faults.checker.ledger import Evidence

FIRST_DAY = "2024-01-01"
PAGE = 200
MAX_LAG_S = 30.0


async def read_feed(api: Api, found: Downstream, *, is_over: Callable[[], bool]) -> None:
    """Follow the feed from its beginning until it is over; what was read so far is a reading."""
    seen: list[Any] = []
    found.readings.append(seen)
    cursor = ""
    while not is_over():
        try:
            response = await api.call("events", "GET", _page(cursor), headers={"Prefer": "wait=1"})
        except NoAnswerError:
            continue
        if response.status != 200:
            await api.sleep(0.3)
            continue
        seen += response.json["result"]
        cursor = response.json["pagination"]["nextPageToken"]


async def collect_downstream(collector: Collector, evidence: Evidence, found: Downstream, until_day: str) -> None:
    """Read all of the feed and the ledger's sums, as soon as they have everything or after `MAX_LAG_S`."""
    ends = monotonic() + MAX_LAG_S
    jobs = sum(1 for job in evidence.jobs.values() if job and job["summary"]["job"]["terminal"])
    sold = len({record.key for record in evidence.of(["orders.validated.v1"])})
    report = f"/reports/sales?by=month&from={FIRST_DAY}&to={until_day}"
    while True:
        found.feed = await _whole_feed(collector)
        rows = (await collector.get("ledger", report))["result"]
        found.ledger_orders = sum(row["orders"] for row in rows)
        finished = sum(1 for event in found.feed if event["type"] == "job.finished")
        if (finished >= jobs and found.ledger_orders >= sold) or monotonic() > ends:
            return
        await asyncio.sleep(0.5)


async def _whole_feed(collector: Collector) -> list[Any]:
    events: list[Any] = []
    cursor = ""
    while True:
        page = await collector.get("events", _page(cursor))
        events += page["result"]
        cursor = page["pagination"]["nextPageToken"]
        if not page["result"]:
            return events


def _page(cursor: str) -> str:
    return f"/events?rows={PAGE}" + (f"&after={quote(cursor)}" if cursor else "")
