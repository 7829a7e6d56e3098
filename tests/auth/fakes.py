"""In-memory implementations of auth's ports. Those of stores pass the same suite as MongoDB's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.auth.domain.client import Client
from services.auth.domain.revocation import Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import ApiKeyConflictError, StoredSite
from services.chassis.runtime.errors import UnavailableError
from services.values.sites import Site


@dataclass
class Clock:
    at: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.at


@dataclass
class IdSequence:
    """Returns `id-1`, `id-2` and so on."""

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
        stored = self.by_id.get(client.client_id)
        if client.revision != (stored.revision if stored else 0):
            return False
        self.by_id[client.client_id] = replace(client, revision=client.revision + 1)
        return True


class FakeSiteStore:
    def __init__(self) -> None:
        self.by_number: dict[int, StoredSite] = {}

    async def find(self, site: int) -> StoredSite | None:
        return self.by_number.get(site)

    async def all(self) -> Sequence[Site]:
        return [self.by_number[site].site for site in sorted(self.by_number)]

    async def save(self, site: Site, *, expected_revision: int) -> bool:
        api_keys = {key.api_key for key in site.api_keys}
        for stored in self.by_number.values():
            if stored.site.site != site.site and api_keys & {key.api_key for key in stored.site.api_keys}:
                raise ApiKeyConflictError(str(site.site))
        previous = self.by_number.get(site.site)
        if expected_revision != (previous.revision if previous else 0):
            return False
        self.by_number[site.site] = StoredSite(site, expected_revision + 1)
        return True


class FakeKeyStore:
    def __init__(self) -> None:
        self.by_number: dict[int, SigningKey] = {}

    async def all(self) -> Sequence[SigningKey]:
        return [self.by_number[number] for number in sorted(self.by_number)]

    async def add(self, key: SigningKey) -> bool:
        if key.number in self.by_number:
            return False
        self.by_number[key.number] = key
        return True


class FakeRevocationStore:
    def __init__(self) -> None:
        self.by_key: dict[str, Revocation] = {}

    async def save(self, revocation: Revocation) -> None:
        stored = self.by_key.get(revocation.key)
        if stored is None or stored.until <= revocation.until:
            self.by_key[revocation.key] = revocation

    async def all(self) -> Sequence[Revocation]:
        return [self.by_key[key] for key in sorted(self.by_key)]


@dataclass
class FakeHasher:
    """Readable hashes; records which calls had low priority."""

    hashed_secrets: list[str] = field(default_factory=list)
    low_priority_calls: list[bool] = field(default_factory=list)

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        del same_salt_as
        self.hashed_secrets.append(secret)
        return f"hash of {secret}"

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        self.low_priority_calls.append(low_priority)
        return next((stored for stored in hashes if stored == f"hash of {secret}"), None)


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
        return max((each.issued_before or 0 for each in self.revocations if each.client_id == client_id), default=0)


@dataclass
class FakeSigner:
    signed: list[Mapping[str, object]] = field(default_factory=list)
    keys: list[SigningKey] = field(default_factory=list)

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        assert keys, "the real signer takes no empty list"
        self.keys = list(keys)

    def sign(self, claims: Mapping[str, object]) -> str:
        self.signed.append(claims)
        return f"token {len(self.signed)}"


@dataclass
class FakeKeyGenerator:
    """Generates keys without a private key."""

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
        wrapped_private_key=b"wrapped",
        created_at=created_at,
        signs_from=signs_from,
    )
