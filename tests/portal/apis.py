"""The public APIs as the portal sees them: tokens, jobs and records of two sites, in memory."""

import base64
import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

import httpx2

from tests.portal.fake_fulfilment import FakeFulfilment
from tests.portal.fake_ledger import FakeLedger
from tests.portal.public_files import answer_public

CUSTOMER, OTHER, RESELLER, RETURNS_CLIENT, OPERATOR = "customer-608", "customer-609", "reseller", "returns", "operator"
SECRET = "right-secret-canary"
SITES = {
    CUSTOMER: (608, "12345"),
    OTHER: (609, "67890"),
    RESELLER: (608, "12345"),
    RETURNS_CLIENT: (608, "12345"),
    OPERATOR: (0, ""),
}
ALL_SCOPES = {
    "common-status": "status:read",
    "omnichannel": "orders:write returns:write",
    "fulfilment": "orders:create orders:read codes:read invoices:read",
    "ledger": "sales:read",
    "events": "events:read webhooks:write",
}
SCOPES: dict[str, dict[str, str]] = {
    CUSTOMER: ALL_SCOPES,
    OTHER: ALL_SCOPES,
    RESELLER: {"fulfilment": ALL_SCOPES["fulfilment"]},
    RETURNS_CLIENT: {"omnichannel": "returns:write"},
    OPERATOR: {"auth-admin": "admin"},
}
JOB = "7c1f7bd0-cdbe-11f0-8de9-0242ac120002"


def a_job(job_id: str = JOB, *, total: int = 3, success: int = 2, failed: int = 1, **fields: Any) -> dict[str, Any]:
    state = fields.pop("state", "COMPLETED_WITH_WARNING" if failed else "COMPLETED")
    return {
        "jobId": job_id,
        "name": f"Total records = {total}. Success = {success}. Failed = {failed}",
        "state": state,
        "status": "PROCESSING",
        "terminal": state not in ("RECEIVED", "VALIDATING"),
        "jobCreated": "2026-11-30T10:15:00.123456789Z",
        "lastModified": "2026-11-30T10:15:01.500Z",
        "completedAt": "2026-11-30T10:15:01.500Z",
        "duration": "00:00:01",
        "baggage": {"records": {"total": total, "success": success, "failed": failed}},
        "attributes": {"mode": "online", "type": "orders"},
        **fields,
    }


def a_failed_record(index: int = 2, *, product: str | None = "9999", **record: Any) -> dict[str, Any]:
    fault = (
        {"code": "MISSING_FIELD", "field": "/lineItems/0/quantity", "message": "quantity is required"}
        if product is None
        else {
            "code": "PRODUCT_NOT_FOUND",
            "field": "/lineItems/0/productId",
            "message": f"No product is found for product ID {product}",
        }
    )
    line = {"productId": product or "4556", "quantity": 2, "unitPrice": "10.25"}
    content = {"id": f"O{index}", "userId": "u1", "currency": "EUR", "lineItems": [line], **record}
    return {
        "index": index,
        "id": content["id"],
        "userId": "u1",
        "outcome": "failed",
        "faults": [{"retryable": product is not None, **fault}],
        "record": content,
    }


def a_good_record(index: int = 0) -> dict[str, Any]:
    return {"index": index, "id": f"O{index}", "userId": "u1", "outcome": "succeeded", "faults": []}


class Apis:
    """Answers requests. `fails` may return an answer instead; `jobs` and `records` are those of each API key."""

    def __init__(self) -> None:
        self.secrets = dict.fromkeys(SITES, SECRET)
        self.jobs: dict[str, list[dict[str, Any]]] = {"12345": [], "67890": []}
        self.records: dict[str, list[dict[str, Any]]] = {}
        self.orders: list[dict[str, Any]] = []
        self.fails: Callable[[httpx2.Request], httpx2.Response | None] = lambda _request: None
        self.token_requests = 0
        self.requests: list[httpx2.Request] = []
        self.zone = "Europe/Paris"
        self.validated = 0
        self.jobs_by_key: dict[str, str] = {}
        self.is_auth_away = False
        self.imported: list[httpx2.Request] = []
        self.ledger = FakeLedger()
        self.fulfilment = FakeFulfilment()
        self.feed: Callable[[httpx2.Request], Awaitable[httpx2.Response]] | None = None

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            return self._token(request)
        if self.feed is not None and request.url.path.startswith("/events/"):
            return await self.feed(request)
        self.requests.append(request)
        failure = self.fails(request)
        if failure is not None:
            return failure
        path = request.url.path.strip("/").split("/")
        if path[0] == "fulfilment" and not self.orders and _is_of(request, CUSTOMER):
            return self.fulfilment.answer(request, path[2:])
        return self._answer(request)

    def _token(self, request: httpx2.Request) -> httpx2.Response:
        self.token_requests += 1
        if self.is_auth_away:
            raise httpx2.ConnectError("away")
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        client, api = form["client_id"], request.url.path.split("/")[1]
        if self.secrets.get(client) != form["client_secret"]:
            return httpx2.Response(401, json={"error": "invalid_client", "error_description": "no"})
        scope = SCOPES[client].get(api)
        if scope is None:
            return httpx2.Response(400, json={"error": "unauthorized_client", "error_description": "no"})
        site, key = SITES[client]
        claims = {"sub": client, "site": site, "api_keys": [key] if key else [], "scope": scope}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
        token = {"token_type": "bearer", "access_token": f"h.{payload}.s", "expires_in": 28_800}
        return httpx2.Response(200, json=token)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:  # noqa: C901, PLR0911 - a line for each route
        parts = request.url.path.strip("/").split("/")
        match parts:
            case [_, "openapi.yaml"] | ["registry", *_]:
                return answer_public(request)
            # The client library compresses; requests of the developers' pages are sent as they were typed.
            case ["omnichannel", "api", "v1", _, "orders"] if "Content-Encoding" not in request.headers:
                self.imported.append(request)
                return httpx2.Response(202, json={"body": json.loads(request.content)}, headers={"X-Request-Id": "r7"})
            case ["common-status", "v1", key, "jobs"]:
                return self._page(request, [job for job in self.jobs[key] if _matches(job, request)])
            case ["common-status", "v1", key, "job", job_id]:
                found = [job for job in self.jobs[key] if job["jobId"] == job_id]
                return (
                    httpx2.Response(200, json={"summary": {"job": found[0]}}) if found else _problem(404, "NOT_FOUND")
                )
            case ["common-status", "v1", key, "job", job_id, "records"]:
                if not any(job["jobId"] == job_id for job in self.jobs[key]):
                    return _problem(404, "NOT_FOUND")
                outcome = request.url.params.get("outcome")
                if outcome not in ("succeeded", "failed", "unprocessed"):
                    return _problem(400, "INVALID_OUTCOME")
                records = [each for each in self.records.get(job_id, []) if outcome == each["outcome"]]
                return self._page(request, records)
            case ["ledger", "v1", key, *path]:
                return self.ledger.answer(request, key, path, zone=self.zone)
            case ["omnichannel", "api", "v1", _, "limits"]:
                limits = {"recordsPerSecond": 100, "remaining": 75, "resetAfterSeconds": 1, "recordsPerRequest": 100}
                return httpx2.Response(200, json=limits | {"bytesPerRequest": 1, "inflatedBytesPerRequest": 1})
            case ["fulfilment", "v1", kind]:
                found = self.orders if kind == "orders" else []
                return httpx2.Response(200, json={"pagination": None, "result": found})
            case ["omnichannel", "api", "v1", key, kind] if request.method == "POST":
                return self._import(request, key, kind)
        return _problem(404, "NOT_FOUND")

    def _import(self, request: httpx2.Request, key: str, kind: str) -> httpx2.Response:
        """Judge records: a product must be `4556`. What is imported becomes a job, once for each idempotency key."""
        records = json.loads(gzip.decompress(request.content))
        results = [_judge(index, record) for index, record in enumerate(records)]
        if request.url.params.get("validateOnly") == "true":
            self.validated += len(records)
            return httpx2.Response(200, json={"message": "", "time": 0, "catalogueAsOf": None, "records": results})
        job_id = self.jobs_by_key.setdefault(request.headers["Idempotency-Key"], str(uuid4()))
        if not any(job["jobId"] == job_id for job in self.jobs[key]):
            failed = sum(each["outcome"] == "failed" for each in results)
            counts = {"total": len(records), "success": len(records) - failed, "failed": failed}
            self.jobs[key].append(a_job(job_id, **counts, attributes={"mode": "offline", "type": kind}))
            self.records[job_id] = [each | {"record": record} for each, record in zip(results, records, strict=True)]
        return httpx2.Response(202, json={"message": "", "time": 0, "jobId": job_id})

    @staticmethod
    def _page(request: httpx2.Request, items: list[dict[str, Any]]) -> httpx2.Response:
        rows, token = int(request.url.params.get("rows", 50)), request.url.params.get("page")
        if token is not None and not token.isdigit():
            return _problem(400, "INVALID_PAGE_TOKEN")
        start = int(token or 0)
        following = str(start + rows) if len(items) > start + rows else None
        page = {"rows": rows, "count": len(items[start : start + rows]), "nextPageToken": following}
        return httpx2.Response(200, json={"pagination": page, "result": items[start : start + rows]})


def _judge(index: int, record: dict[str, Any]) -> dict[str, Any]:
    faults = [
        {
            "code": "PRODUCT_NOT_FOUND",
            "field": f"/lineItems/{number}/productId",
            "message": f"No product is found for product ID {line['productId']}",
            "retryable": True,
        }
        for number, line in enumerate(record["lineItems"])
        if line["productId"] != "4556"
    ]
    outcome = "failed" if faults else "succeeded"
    return {"index": index, "id": record["id"], "userId": "u1", "outcome": outcome, "faults": faults}


def _is_of(request: httpx2.Request, client: str) -> bool:
    """Whether a request has a token of a client."""
    _, separator, payload = request.headers.get("Authorization", "").partition(".")
    if not separator:
        return False
    payload = payload.partition(".")[0]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return bool(claims["sub"] == client)


def _matches(job: dict[str, Any], request: httpx2.Request) -> bool:
    params = request.url.params
    return all(
        wanted in (None, found)
        for wanted, found in (
            (params.get("state"), job["state"]),
            (params.get("type"), job["attributes"]["type"]),
            (params.get("mode"), job["attributes"]["mode"]),
        )
    )


def _problem(status: int, code: str, detail: str = "a reason") -> httpx2.Response:
    body = {"detail": detail, "code": code, "requestId": "r1", "status": status}
    return httpx2.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


problem = _problem
