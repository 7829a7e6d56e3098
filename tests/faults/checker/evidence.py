"""Collects what the clients' requests have led to: through the APIs, and from Kafka by keys and headers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from tests.faults.checker.api import Api, NoAnswerError
from tests.faults.checker.clients import SALES_DAY, codes_of
from tests.faults.checker.invariants import SUBMITTED
from tests.faults.checker.ledger import Evidence, KafkaRecord, Ledger
from tests.faults.checker.sales import expected_sales, sums_of

TOPICS = (
    "orders.submitted.v1",
    "returns.submitted.v1",
    "orders.validated.v1",
    "returns.validated.v1",
    "records.rejected.v1",
    "orders.submitted.v1.dlq",
    "returns.submitted.v1.dlq",
    "jobs.events.v1.dlq",
    "fulfilment.transactions.v1",
    "fulfilment.invoices.v1",
    "fulfilment.transactions.v1.dlq",
)
ATTEMPTS = 40
PAUSE_S = 0.5
ANNOUNCED_S = 3.0

T = TypeVar("T")
ReadTopic = Callable[[str], Awaitable[Sequence[KafkaRecord]]]


class NotHealedError(AssertionError):
    """An API does not answer although every fault is healed."""


class Collector:
    """Reads everything, with patience: a client may send too many requests."""

    def __init__(self, api: Api, ledger: Ledger, read_topic: ReadTopic, *, concurrency: int = 1) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        self._api = api
        self._ledger = ledger
        self._read_topic = read_topic

    async def collect(self, evidence: Evidence, days: Sequence[str], *, has_sales: bool = False) -> None:
        """Fill the evidence; the jobs have ended."""
        for topic in SUBMITTED:
            evidence.records[topic] = list(await self._read_topic(topic))
        await self._collect_jobs(evidence)
        await self._collect_codes(evidence)
        for day in days:
            found = await self.get("fulfilment", f"/purchase-orders?date={day}")
            evidence.purchase_orders += [await self._whole_purchase_order(one["id"]) for one in found["result"]]
        evidence.invoices = await self._all("fulfilment", "/invoices?rows=100")
        # Last: what was stored a moment ago is announced a moment later.
        await self._api.sleep(ANNOUNCED_S)
        for topic in TOPICS:
            evidence.records[topic] = list(await self._read_topic(topic))
        if has_sales:
            await self._collect_sales(evidence)

    async def _collect_sales(self, evidence: Evidence) -> None:
        """Read the report until it is what it should be, or for a while: the ledger follows the topics."""
        expected = expected_sales(self._ledger, evidence)
        for _ in range(ATTEMPTS):
            report = await self.get("ledger", f"/reports/sales?from={SALES_DAY}&to={SALES_DAY}")
            evidence.sales = report["result"]
            if sums_of(report["result"]) == expected:
                return
            await self._api.sleep(PAUSE_S)

    async def _collect_jobs(self, evidence: Evidence) -> None:
        known = set(self._ledger.job_ids())
        known |= {one.job_id for sent in self._ledger.imports for one in sent.attempts if one.job_id}
        known |= {record.identity[0] for record in evidence.of(SUBMITTED) if record.identity}
        evidence.listed_jobs = [one["jobId"] for one in await self._all("status", "/jobs?rows=100")]
        job_ids = sorted(known | set(evidence.listed_jobs))
        evidence.jobs.update(zip(job_ids, await self._each(self._job, job_ids), strict=True))

    async def _job(self, job_id: str) -> Any:
        path = f"/job/{job_id}/events?showAll=true&rows=5000"
        events: list[Any] = []
        url = path
        while True:
            found = await self.get("status", url)
            if found is None:
                return None
            events += found["result"]
            token = found.get("pagination", {}).get("nextPageToken")
            if token is None:
                return {"summary": found["summary"], "events": events}
            url = f"{path}&page={token}"

    async def _collect_codes(self, evidence: Evidence) -> None:
        evidence.listed_transactions = await self._all("fulfilment", "/orders?rows=100")
        ids = [each["transactionId"] for each in evidence.listed_transactions]
        for transaction_id, found in zip(ids, await self._each(self._transaction, ids), strict=True):
            evidence.codes[transaction_id], evidence.transactions[transaction_id] = found

    async def _transaction(self, transaction_id: str) -> tuple[Mapping[str, str], Any]:
        codes = await self.get("fulfilment", f"/orders/{transaction_id}/codes")
        # Afterwards: asking for codes may deliver some.
        return codes_of(codes), await self.get("fulfilment", f"/orders/{transaction_id}")

    async def _each(self, get: Callable[[str], Awaitable[T]], ids: Sequence[str]) -> Sequence[T]:
        """Call `get` for each id, as many at once as `concurrency` says."""

        async def get_one(one: str) -> T:
            async with self._slots:
                return await get(one)

        return await asyncio.gather(*(get_one(one) for one in ids))

    async def _whole_purchase_order(self, order_id: str) -> Any:
        """A purchase order with all its transactions."""
        whole = await self.get("fulfilment", f"/purchase-orders/{order_id}?rows=100")
        token = whole["pagination"]["nextPageToken"]
        while token is not None:
            page = await self.get("fulfilment", f"/purchase-orders/{order_id}?rows=100&page={token}")
            whole["transactions"] += page["transactions"]
            token = page["pagination"]["nextPageToken"]
        return whole

    async def _all(self, service: str, path: str) -> list[Any]:
        found: list[Any] = []
        url = path
        while True:
            page = await self.get(service, url)
            found += page["result"]
            token = page["pagination"]["nextPageToken"]
            if token is None:
                return found
            url = f"{path}&page={token}"

    async def get(self, service: str, path: str) -> Any:
        """Return the body; None for a 404. Raises `NotHealedError` if no answer comes for a while."""
        last = "no answer"
        for _ in range(ATTEMPTS):
            try:
                response = await self._api.call(service, "GET", path)
            except NoAnswerError:
                await self._api.sleep(PAUSE_S)
                continue
            if response.status == 200:
                return response.json
            if response.status == 404:
                return None
            last = f"{response.status} {response.body.decode()}"
            await self._api.sleep(PAUSE_S)
        raise NotHealedError(f"I3: {service} does not answer {path}: {last}")
