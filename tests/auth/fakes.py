"""Hand-written stand-ins for what auth needs from the world. Those of stores pass the same suite as MongoDB's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.auth.domain.client import Client
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError, Site
from services.chassis.runtime.errors import UnavailableError


@dataclass
class Clock:
    at: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class Counter:
    """Ids in their order."""

    last: int = 0

    def __call__(self) -> str:
        self.last += 1
        return f"id-{self.last}"


class FakeClientStore:
    def __init__(self) -> None:
        self.by_id: dict[str, Client] = {}
        self.is_unavailable = False

    async def find(self, client_id: str) -> Client | None:
        if self.is_unavailable:
            raise UnavailableError("MongoDB")
        return self.by_id.get(client_id)

    async def all(self) -> Sequence[Client]:
        return [self.by_id[client_id] for client_id in sorted(self.by_id)]

    async def save(self, client: Client) -> bool:
        return _save(self.by_id, client.client_id, client)


class FakeSiteStore:
    def __init__(self) -> None:
        self.by_id: dict[int, Site] = {}

    async def find(self, site: int) -> Site | None:
        return self.by_id.get(site)

    async def all(self) -> Sequence[Site]:
        return [self.by_id[site] for site in sorted(self.by_id)]

    async def save(self, site: Site) -> bool:
        wanted = {key.api_key for key in site.api_keys}
        for other in self.by_id.values():
            if other.site != site.site and wanted & {key.api_key for key in other.api_keys}:
                raise ApiKeyConflictError(str(site.site))
        return _save(self.by_id, site.site, site)


def _save(kept: dict[Any, Any], key: object, wanted: Any) -> bool:
    known = kept.get(key)
    if wanted.revision != (known.revision if known else 0):
        return False
    kept[key] = replace(wanted, revision=wanted.revision + 1)
    return True


class FakeKeyStore:
    def __init__(self) -> None:
        self.by_id: dict[int, SigningKey] = {}

    async def all(self) -> Sequence[SigningKey]:
        return [self.by_id[number] for number in sorted(self.by_id)]

    async def add(self, key: SigningKey) -> bool:
        if key.number in self.by_id:
            return False
        self.by_id[key.number] = key
        return True


class FakeRevocationStore:
    def __init__(self) -> None:
        self.by_id: dict[str, Revocation] = {}

    async def save(self, revocation: Revocation) -> None:
        known = self.by_id.get(revocation.key)
        if known is None or known.until <= revocation.until:
            self.by_id[revocation.key] = revocation

    async def all(self) -> Sequence[Revocation]:
        return [self.by_id[key] for key in sorted(self.by_id)]


@dataclass
class FakeHasher:
    """Hashes that are as clear as glass, and a record of who had to wait."""

    hashed_secrets: list[str] = field(default_factory=list)
    low_priority_calls: list[bool] = field(default_factory=list)

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        del same_salt_as
        self.hashed_secrets.append(secret)
        return f"hash of {secret}"

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        self.low_priority_calls.append(low_priority)
        return next((kept for kept in hashes if kept == f"hash of {secret}"), None)


@dataclass
class FakePublisher:
    sites: list[Site] = field(default_factory=list)
    revocations: list[Revocation] = field(default_factory=list)
    is_unavailable: bool = False

    async def publish_sites(self, sites: Sequence[Site]) -> None:
        if self.is_unavailable and sites:
            raise UnavailableError("Kafka")
        self.sites.extend(sites)

    async def publish_revocations(self, revocations: Sequence[Revocation]) -> None:
        if self.is_unavailable and revocations:
            raise UnavailableError("Kafka")
        self.revocations.extend(revocations)

    def revoked_before(self, client_id: str) -> float:
        return max((one.issued_before or 0 for one in self.revocations if one.client_id == client_id), default=0)


@dataclass
class FakeSigner:
    signed: list[Mapping[str, object]] = field(default_factory=list)
    keys: list[SigningKey] = field(default_factory=list)

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        assert keys, "the real one takes no empty list"
        self.keys = list(keys)

    def sign(self, claims: Mapping[str, object]) -> str:
        self.signed.append(claims)
        return f"token {len(self.signed)}"


@dataclass
class FakeAuditLog:
    lines: list[dict[str, object]] = field(default_factory=list)

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        self.lines.append({"action": action, "actor": actor, "source": source, **details})


@dataclass
class FakeKeyGenerator:
    """Keys that open to nothing."""

    before_adding: Callable[[], None] = lambda: None

    async def generate(self, *, number: int, created_at: int, signs_from: int) -> SigningKey:
        self.before_adding()
        return a_key(number, created_at=created_at, signs_from=signs_from)


def a_key(number: int, *, signs_from: int, created_at: int = 0) -> SigningKey:
    return SigningKey(
        number=number,
        kid=f"kid-{number}",
        algorithm="RS256",
        public={"kid": f"kid-{number}"},
        wrapped_private_key=b"sealed",
        created_at=created_at,
        signs_from=signs_from,
    )
