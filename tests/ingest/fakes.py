"""Hand-written fakes around ingest. All write to one journal, so that a test can assert the order of effects."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from typing import Any

from services.chassis.http.idempotency import Reservation, StoredResponse
from services.chassis.http.ratelimit import Decision, RateLimit
from services.chassis.runtime.errors import Problem, UnauthorizedError, UnavailableError
from services.chassis.security.tokens import Token
from services.ingest.domain.import_job import AcceptedJob, ImportRequest
from services.ingest.flows.accept import Deps
from services.sales.batch import ImportTarget, SiteDefaults
from services.values.sites import ApiKey, Site
from services.values.time_uuids import time_uuid

NOW_US = 1_714_550_400_000_000  # 2024-05-01T08:00:00Z
ALL_SCOPES = frozenset({"orders:write", "returns:write"})


@dataclass(frozen=True)
class Published:
    """What went out with a job; `topic` is `jobs` for the opening."""

    topic: str
    records: int
    refused: int = 0


@dataclass(frozen=True)
class Charged:
    """Records were paid for, or could not be."""

    records: int
    allowed: bool = True


@dataclass(frozen=True)
class KeyState:
    """What became of an idempotency key."""

    state: str


Journal = list[Any]


class FakePublisher:
    """Takes jobs as Kafka would; `away` makes it unreachable, `held` keeps it from answering until set."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.jobs: list[AcceptedJob] = []
        self.unavailable = False
        self.gate: asyncio.Event | None = None

    async def publish(self, job: AcceptedJob) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.unavailable:
            raise UnavailableError("Kafka")
        self.jobs.append(job)
        batch = job.batch
        self.journal.append(Published(job.header.type, len(batch.accepted), len(batch.rejected)))


class FakeRateLimiter:
    """A limit on a clock that stands still."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.now = 0.0
        self._limit = RateLimit(clock=lambda: self.now)

    async def acquire(self, key: str, *, limit: int, cost: int = 1) -> Decision:
        decision = self._limit.acquire(key, limit=limit, cost=cost)
        if cost:
            self.journal.append(Charged(cost, decision.allowed))
        return decision


@dataclass
class FakeIdempotencyStore:
    """Idempotency in a dictionary."""

    journal: Journal
    keys: dict[tuple[str, str], tuple[bytes, str, StoredResponse | None]] = field(default_factory=dict)
    released: set[tuple[str, str]] = field(default_factory=set)
    unavailable: bool = False

    async def reserve(self, request: ImportRequest, job_id: str) -> Reservation | StoredResponse:
        if self.unavailable:
            raise UnavailableError("MongoDB")
        name = (request.client_id, str(request.idempotency_key))
        digest = sha256(repr(request.target).encode() + request.body).digest()
        known = self.keys.get(name)
        if known is None:
            self.keys[name] = (digest, job_id, None)
            self.journal.append(KeyState("begun"))
            return Reservation("|".join(name), job_id, "me")
        if known[0] != digest:
            raise Problem(422, "IDEMPOTENCY_CONFLICT", "this Idempotency-Key came with another request before")
        if known[2] is not None:
            self.journal.append(KeyState("replayed"))
            return known[2]
        if name not in self.released:
            raise Problem(409, "IDEMPOTENCY_IN_PROGRESS", "still running", headers={"Retry-After": "30"})
        self.released.discard(name)
        self.journal.append(KeyState("resumed"))
        return Reservation("|".join(name), known[1], "me", is_retry=True)

    def _name(self, turn: Reservation) -> tuple[str, str]:
        client, _, key = turn.key.partition("|")
        return client, key

    async def complete(self, reservation: Reservation, response: StoredResponse) -> None:
        name = self._name(reservation)
        self.keys[name] = (*self.keys[name][:2], response)
        self.journal.append(KeyState("finished"))

    async def release_for_retry(self, reservation: Reservation) -> None:
        self.released.add(self._name(reservation))
        self.journal.append(KeyState("paused"))

    async def discard(self, reservation: Reservation) -> None:
        del self.keys[self._name(reservation)]
        self.journal.append(KeyState("forgotten"))


class FakeVerifier:
    """Knows callers by their tokens: `good` may write both, `orders` and `returns` one of them, `other` is 609's.

    `moved` is 609's, too, and names a key that has come to 608 since.
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
        raise UnauthorizedError(f"{len(token)} characters of nothing")


class FakeSites:
    """The two demo sites."""

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
    """A deps of fakes."""
    return Deps(
        **{
            "publisher": FakePublisher(journal),
            "rate_limiter": FakeRateLimiter(journal),
            "idempotency": FakeIdempotencyStore(journal),
            "currencies": frozenset({"USD", "EUR"}),
            "strict_json": False,
            "now_us": lambda: NOW_US,
            "new_job_id": new_job_id,
            **changes,
        }
    )


def order(**changes: Any) -> dict[str, Any]:
    """A plain order; `...` takes a field away."""
    record = {
        "id": "o1",
        "userId": "u1",
        "dateTime": "2024-05-01T10:00:00+09:00",
        "lineItems": [{"productId": "4556", "quantity": 1, "unitPrice": 9.99}],
        **changes,
    }
    return {name: value for name, value in record.items() if value is not ...}


def a_return(**changes: Any) -> dict[str, Any]:
    """A plain return."""
    return order(id=..., **{"orderId": "o1", "returnId": "r1", **changes})


def an_import_request(body: Any, *, kind: str = "orders", **changes: Any) -> ImportRequest:
    """A request as the flow gets it."""
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
