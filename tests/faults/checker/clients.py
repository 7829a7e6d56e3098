"""Clients: importers, readers, buyers. Each writes what it sent and got into the ledger."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.checker.api import Api, NoAnswerError, Response
from tests.faults.checker.ledger import (
    Attempt,
    CodeOrder,
    Fate,
    Import,
    Ledger,
    Look,
    OrderAttempt,
    TaggedPage,
    Walk,
)

MAX_ATTEMPTS = 25
MAX_PAGES = 40
# Answers that a client meets with another attempt.
RETRIED = frozenset({429, 502, 503, 504})
UNKNOWN_PRODUCT = "no-such-product"
USER = "u1"
SALES_DAY, UNIT_PRICE = "2024-05-01", 9.99


def units_of(record_id: str) -> int:
    """The units of a record, each a line of its own: some have several, and several faults."""
    return 3 if record_id.endswith("3") else 1


@dataclass
class Clients:
    """All clients of one run. `seen` products are those of the catalogue."""

    api: Api
    ledger: Ledger
    rng: random.Random
    product: str = "4556"
    # Further answers that a fault explains, such as a 401 from a process whose clock is wrong.
    tolerated: frozenset[int] = frozenset()

    def new_secret(self, name: str) -> str:
        """A value that no log, error or header may show."""
        secret = f"canary-{name}"
        self.ledger.secrets.add(secret.encode())
        return secret

    def record(self, kind: str, record_id: str, fate: Fate) -> dict[str, Any]:
        """An order or return that must end in this way, with a secret that no log may show."""
        product = UNKNOWN_PRODUCT if fate is Fate.REJECTED else self.product
        identity = {"id": record_id} if kind == "orders" else {"orderId": record_id, "returnId": f"r-{record_id}"}
        count = units_of(record_id)
        line = {"productId": product, "quantity": 1, "unitPrice": UNIT_PRICE}
        return {
            **identity,
            "userId": USER,
            "dateTime": f"{SALES_DAY}T10:00:00+02:00" if fate is not Fate.REFUSED or count == 1 else "tomorrow",
            "emailHash": self.new_secret(record_id),
            "lineItems": [] if fate is Fate.REFUSED else [line] * count,
        }

    async def import_records(self, sent: Import, *, gives_up: bool = False) -> None:
        """Send the records until they are accepted or refused, or once."""
        body: Any = [self.record(sent.kind, order_id, fate) for order_id, fate in sent.records.items()]
        if sent.is_invalid:
            body = "not a batch"
        method, path = ("PUT", f"/{sent.kind}/users/{USER}") if sent.is_put else ("POST", f"/{sent.kind}")
        headers = {"Idempotency-Key": sent.key} if sent.key else {}
        self.ledger.imports.append(sent)
        for _ in range(1 if gives_up else MAX_ATTEMPTS):
            attempt = Attempt(sent_at=self.api.now())
            sent.attempts.append(attempt)
            try:
                response = await self.api.call("import", method, path, body=body, headers=headers)
            except NoAnswerError:
                await self.api.sleep(0.3)
                continue
            finally:
                attempt.answered_at = self.api.now()
            self._read_import_answer(attempt, response)
            busy = response.status == 409 and sent.key is not None
            if 400 <= response.status < 500 and not sent.is_invalid and not busy:
                self.note_refusal(response)
            if response.status not in RETRIED | self.tolerated and not busy:
                return
            await self.api.sleep(min(float(response.headers.get("Retry-After", "1")), 1.0))

    def _read_import_answer(self, attempt: Attempt, response: Response) -> None:
        attempt.status = response.status
        attempt.has_retry_after = "Retry-After" in response.headers
        if response.status < 300 or "jobId" in _json_object(response):
            attempt.job_id = response.json.get("jobId")
        self.note(response)
        if response.status == 503 and not attempt.has_retry_after:
            self.ledger.surprises.append("I2: a 503 without Retry-After")

    async def look(self, job_id: str, *, wait_s: int = 0) -> Look | None:
        """Look at a job's summary; None if there is no answer about it."""
        sent_at = self.api.now()
        headers = {"Prefer": f"wait={wait_s}"} if wait_s else {}
        response = await self.get("status", f"/job/{job_id}/events?showAll=true&rows=1", headers)
        if response is None or response.status != 200:
            return None
        summary = response.json["summary"]
        records = summary["job"]["baggage"]["records"]
        counts = (records["success"], records["failed"], records.get("unprocessed", 0))
        found = Look(
            job_id, sent_at, self.api.now(), bool(summary["job"]["terminal"]), counts, int(summary["total-events"])
        )
        self.ledger.looks.append(found)
        return found

    async def walk(self, job_id: str) -> None:
        """Follow a job's pages to their end, with pages of a random size."""
        walk = Walk(job_id)
        rows = self.rng.choice((1, 2, 3, 50, 400))
        path = f"/job/{job_id}/events?showAll=true&rows={rows}"
        url: str | None = path
        for _ in range(MAX_PAGES):
            response = await self.get("status", url or path, {})
            if response is None or response.status != 200:
                break
            self.ledger.pages.append(TaggedPage(url or path, response.headers.get("ETag", ""), response.body))
            walk.events += [each["statusId"] for each in response.json["result"]]
            told = int(response.json["summary"]["total-events"])
            if len(walk.events) > told:
                self.ledger.surprises.append(f"I4: {job_id} shows {len(walk.events)} events, its summary has {told}")
            token = response.json.get("pagination", {}).get("nextPageToken")
            if token is None:
                break
            url = f"{path}&page={token}"
            await self.api.sleep(self.rng.choice((0.0, 0.01, 0.1)))
        self.ledger.walks.append(walk)

    async def put_product(self, sku: str) -> None:
        """Put a product on sale."""
        body = {"name": sku, "unitPrice": "12.34", "currency": "EUR"}
        await self._until_accepted("PUT", f"/products/{sku}", body)

    async def load_codes(self, sku: str, codes: list[str]) -> None:
        """Make codes available."""
        self.ledger.loaded_codes.update(codes)
        self.ledger.secrets.update(code.encode() for code in codes)
        await self._until_accepted("POST", f"/stock/{sku}/codes", {"codes": codes})

    async def _until_accepted(self, method: str, path: str, body: Any) -> None:
        for _ in range(MAX_ATTEMPTS):
            try:
                response = await self.api.call("fulfilment", method, path, body=body)
            except NoAnswerError:
                await self.api.sleep(0.3)
                continue
            self.note(response)
            # Codes may come before their product.
            if response.status not in RETRIED | self.tolerated | {404}:
                if response.status >= 300:
                    self.note_refusal(response)
                return
            await self.api.sleep(0.5)

    async def order_codes(self, order: CodeOrder, *, has_key: bool, gives_up: bool = False) -> None:
        """Order codes until the order is accepted, or once."""
        self.ledger.orders.append(order)
        body = {
            "clientOrderNumber": order.number,
            "products": [{"sku": sku, "quantity": count} for sku, count in order.lines.items()],
        }
        headers = {"Idempotency-Key": order.number} if has_key else {}
        for _ in range(1 if gives_up else MAX_ATTEMPTS):
            attempt = OrderAttempt()
            order.attempts.append(attempt)
            try:
                response = await self.api.call("fulfilment", "POST", "/orders", body=body, headers=headers)
            except NoAnswerError:
                await self.api.sleep(0.3)
                continue
            attempt.status = response.status
            self.note(response)
            if response.status < 300:
                attempt.transaction_id = response.json["transactionId"]
                return
            busy = response.status == 409 and response.json.get("code") == "IDEMPOTENCY_IN_PROGRESS"
            if response.status not in RETRIED | self.tolerated and not busy:
                if response.status != 422:
                    self.note_refusal(response)
                return
            await self.api.sleep(0.5)

    async def get_codes(self, order: CodeOrder) -> Mapping[str, str] | None:
        """Get the codes of an order, as far as there are any; None if there is no answer."""
        for transaction_id in order.transaction_ids:
            response = await self.get("fulfilment", f"/orders/{transaction_id}/codes", {})
            if response is None or response.status != 200:
                return None
            found = codes_of(response.json)
            order.seen.append(found)
            return found
        return None

    async def get(self, service: str, path: str, headers: Mapping[str, str]) -> Response | None:
        """Return the response; None if there is no answer."""
        try:
            response = await self.api.call(service, "GET", path, headers=headers)
        except NoAnswerError:
            return None
        self.note(response)
        return response

    def note(self, response: Response) -> None:
        """Keep errors for later, and what no client should see."""
        if response.status >= 400:
            self.ledger.errors.append(response.body)
        if response.status >= 500 and response.status not in RETRIED:
            self.ledger.surprises.append(f"I2: status {response.status}: {response.body.decode()}")

    def note_refusal(self, response: Response) -> None:
        """Keep the answer to a valid request that was refused."""
        if response.status in RETRIED | self.tolerated:
            return
        self.ledger.surprises.append(f"I2: a valid request was refused: {response.status} {response.body.decode()}")


def codes_of(body: Any) -> dict[str, str]:
    """The delivered codes of a response, by stock id."""
    return {
        unit["stockId"]: unit["redeemCode"] for line in body["codes"] for unit in line["codes"] if "redeemCode" in unit
    }


def _json_object(response: Response) -> Mapping[str, Any]:
    try:
        found = response.json
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
