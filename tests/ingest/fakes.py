"""Fakes of ingest's ports. All write to one journal, so that tests can assert the order of effects."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.rate_limit import Decision, RateLimit
from services.chassis.runtime.errors import Problem, UnauthorizedError, UnavailableError
from services.chassis.security.tokens import Token
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.accept import Deps
from services.jobs.events import Fault
from services.sales.batch import ImportTarget, SiteDefaults
from services.sales.dry_run import VerdictResponse
from services.sales.faults import product_not_found
from services.values.sites import ApiKey, Site
from services.values.time_uuids import time_uuid

NOW_US = 1_714_550_400_000_000  # 2024-05-01T08:00:00Z
ALL_SCOPES = frozenset({"orders:write", "returns:write"})


@dataclass(frozen=True)
class Published:
    """A job was published, with this many accepted and rejected records; `topic` is its kind."""

    topic: str
    records: int
    rejected: int = 0


@dataclass(frozen=True)
class Judged:
    """The validator judged records that were not published."""

    records: int


@dataclass(frozen=True)
class Charged:
    """The site was charged for records, or had not enough quota."""

    records: int
    allowed: bool = True


@dataclass(frozen=True)
class KeyState:
    """The state of an idempotency key changed."""

    state: str


Journal = list[Any]


class FakePublisher:
    """Keeps jobs instead of publishing them; with a `gate`, `publish` blocks until it is set."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.jobs: list[AcceptedJob] = []
        self.is_unavailable = False
        self.gate: asyncio.Event | None = None

    @property
    def can_publish_nowait(self) -> bool:
        return True

    def publish_nowait(self, job: AcceptedJob, on_settled: Callable[[Exception | None], None]) -> None:
        publishing = asyncio.get_running_loop().create_task(self.publish(job))
        publishing.add_done_callback(lambda done: on_settled(done.exception()))  # type: ignore[arg-type]

    async def publish(self, job: AcceptedJob) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.is_unavailable:
            raise UnavailableError("Kafka")
        self.jobs.append(job)
        batch = job.batch
        self.journal.append(Published(job.header.type, len(batch.accepted), len(batch.rejected)))


@dataclass
class FakeJudge:
    """Finds an unknown product in each record whose first product is not in the catalogue."""

    journal: Journal
    products: frozenset[str] = frozenset({"4556"})
    is_unavailable: bool = False

    async def judge(self, job: AcceptedJob) -> VerdictResponse:
        if self.is_unavailable:
            raise UnavailableError("the validator")
        self.journal.append(Judged(len(job.batch.accepted)))
        products = [record.line_items[0].product_id for _, record in job.batch.accepted]
        faults: list[list[Fault]] = [
            [] if product in self.products else [product_not_found("/lineItems/0/productId", product)]
            for product in products
        ]
        return VerdictResponse(faults, NOW_US // 1000)


class FakeRateLimiter:
    """The real rate limit, with a clock that only tests advance."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.now = 0.0
        self._rate_limit = RateLimit(clock=lambda: self.now)

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        decision = self._rate_limit.acquire(key, limit=limit, cost=cost)
        self.journal.append(Charged(cost, decision.allowed))
        return decision

    async def peek(self, key: str, *, limit: int) -> Decision:
        return self._rate_limit.peek(key, limit=limit)

    def has_quota_nowait(self, key: str, *, limit: int) -> bool:
        return self._rate_limit.has_quota(key, limit=limit)

    def acquire_nowait(self, key: str, *, limit: int) -> Decision | None:
        decision = self._rate_limit.acquire(key, limit=limit)
        if decision.allowed:
            self.journal.append(Charged(1))
        return decision if decision.allowed else None


@dataclass
class FakeIdempotencyStore:
    """Keeps idempotency keys in a dictionary."""

    journal: Journal
    keys: dict[tuple[str, str], tuple[bytes, str, StoredResponse | None]] = field(default_factory=dict)
    released: set[tuple[str, str]] = field(default_factory=set)
    is_unavailable: bool = False

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        if self.is_unavailable:
            raise UnavailableError("MongoDB")
        name = (request.client_id, str(request.idempotency_key))
        digest = sha256(repr(request.target).encode() + request.body).digest()
        known = self.keys.get(name)
        if known is None:
            self.keys[name] = (digest, job_id, None)
            self.journal.append(KeyState("reserved"))
            return Reservation("|".join(name), job_id, "me")
        if known[0] != digest:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "this Idempotency-Key came with another request before")
        if known[2] is not None:
            self.journal.append(KeyState("replayed"))
            return known[2]
        if name not in self.released:
            raise Problem(409, "IDEMPOTENCY_IN_PROGRESS", "still running", headers={"Retry-After": "1"})
        self.released.discard(name)
        self.journal.append(KeyState("resumed"))
        return Reservation("|".join(name), known[1], "me", is_retry=True)

    def _name(self, reservation: Reservation) -> tuple[str, str]:
        client, _, key = reservation.key.partition("|")
        return client, key

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        name = self._name(reservation)
        self.keys[name] = (*self.keys[name][:2], response)
        self.journal.append(KeyState("completed"))

    async def release_for_retry(self, reservation: Reservation) -> None:
        self.released.add(self._name(reservation))
        self.journal.append(KeyState("released"))

    async def discard(self, reservation: Reservation) -> None:
        del self.keys[self._name(reservation)]
        self.journal.append(KeyState("discarded"))


class FakeVerifier:
    """Accepts these tokens, each with its scopes. `other` and `moved` belong to site 609, the rest to 608.

    `moved` has an API key that has been reassigned to 608.
    """

    scopes: Mapping[str, frozenset[str]] = {
        "good": ALL_SCOPES,
        "orders": frozenset({"orders:write"}),
        "returns": frozenset({"returns:write"}),
        "neither": frozenset({"something:else"}),
        "other": ALL_SCOPES,
        "moved": ALL_SCOPES,
    }

    def cached(self, token: str) -> Token | None:
        if token not in self.scopes:
            return None
        keys_of_609 = {"other": {"67890"}, "moved": {"67890", "12345"}}
        site, api_keys = (609, keys_of_609[token]) if token in keys_of_609 else (608, {"12345", "a/b"})
        return Token(
            client_id=token,
            site=site,
            api_keys=frozenset(api_keys),
            scopes=self.scopes[token],
            issued_at=0,
            expires_at=2**40,
            token_id="t",
        )

    async def verify(self, token: str) -> Token:
        raise UnauthorizedError(f"unknown token of {len(token)} characters")


class FakeSites:
    """The demo sites 608 and 609."""

    def __init__(self, *, records_per_second: int = 100) -> None:
        self.records_per_second = records_per_second

    def by_api_key(self, api_key: str) -> Site | None:
        numbers = {"12345": 608, "a/b": 608, "67890": 609}
        return self.get(numbers[api_key]) if api_key in numbers else None

    def get(self, site: int) -> Site | None:
        return Site(
            site=site,
            name="Demo",
            app_id=1078,
            root_source="omnichannel-api/qa",
            datacenter="qa",
            time_zone="Asia/Tokyo",
            api_keys=(ApiKey(api_key="12345", channel="till"), ApiKey(api_key="a/b"), ApiKey(api_key="67890")),
            records_per_second=self.records_per_second,
        )


_NODES = count(2)


def new_job_id(created_at_us: int) -> str:
    return time_uuid(created_at_us, clock_seq=1, node=next(_NODES))


def fake_deps(journal: Journal, **changes: Any) -> Deps:
    """Return dependencies that are fakes, with these changes."""
    return Deps(
        **{
            "publisher": FakePublisher(journal),
            "rate_limiter": FakeRateLimiter(journal),
            "idempotency": FakeIdempotencyStore(journal),
            "judge": FakeJudge(journal),
            "currencies": frozenset({"USD", "EUR"}),
            "strict_json": False,
            "now_us": lambda: NOW_US,
            "new_job_id": new_job_id,
            **changes,
        }
    )


def order(**changes: Any) -> dict[str, Any]:
    """Return a valid order with these changes; `...` removes a field."""
    record = {
        "id": "o1",
        "userId": "u1",
        "dateTime": "2024-05-01T10:00:00+09:00",
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
        **changes,
    }
    return {name: value for name, value in record.items() if value is not ...}


def a_return(**changes: Any) -> dict[str, Any]:
    """Return a valid return with these changes."""
    return order(id=..., **{"orderId": "o1", "returnId": "r1", **changes})


def an_import_request(body: Any, *, kind: str = "orders", **changes: Any) -> ImportRequest:
    """Return a request with this body, and these changes."""
    return ImportRequest(
        **{
            "client_id": "good",
            "scopes": ALL_SCOPES,
            "target": ImportTarget(kind),
            "site": SiteDefaults(608),
            "records_per_second": 100,
            "body": body if isinstance(body, bytes) else json.dumps(body).encode(),
            **changes,
        }
    )
