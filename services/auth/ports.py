"""Stores and other dependencies of auth's flows. All methods that do I/O raise `UnavailableError`."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.auth.domain.client import Client
from services.auth.domain.revocation import ActiveToken, Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import StoredSite
from services.values.sites import Site


class ClientStore(Protocol):
    """Stored clients."""

    async def find(self, client_id: str) -> Client | None:
        """Return the client with this id."""

    async def all(self) -> Sequence[Client]:
        """Return all clients, by id."""

    async def save(self, client: Client) -> bool:
        """Store the client as its next revision if its revision is the stored one (0: not stored yet).

        Returns whether it was stored; otherwise nothing changed.
        """


class SiteStore(Protocol):
    """Stored sites."""

    async def find(self, site: int) -> StoredSite | None:
        """Return the site with this number."""

    async def all(self) -> Sequence[Site]:
        """Return all sites, by number."""

    async def save(self, site: Site, *, expected_revision: int) -> bool:
        """Store the site as the next revision if `expected_revision` is the stored one (0: not stored yet).

        Returns whether it was stored; otherwise nothing changed. Raises `ApiKeyConflictError`.
        """


class KeyStore(Protocol):
    """Stored signing keys, shared by all replicas."""

    async def all(self) -> Sequence[SigningKey]:
        """Return all keys, by number."""

    async def add(self, key: SigningKey) -> bool:
        """Store the key; False, and nothing changed, if its number is taken."""


class RevocationStore(Protocol):
    """Stored revocations, deleted after their `until`."""

    async def save(self, revocation: Revocation) -> None:
        """Store the revocation; of two for one client the later one wins."""

    async def all(self) -> Sequence[Revocation]:
        """Return all stored revocations."""


class Introspector(Protocol):
    """Verifies tokens the way the other services do."""

    async def introspect(self, token: str) -> ActiveToken | None:
        """Return the claims if any service would accept the token. Raises `UnavailableError` while that is unknown."""


class KeyGenerator(Protocol):
    """Generates signing keys."""

    async def generate(self, *, number: int, created_at: int, signs_from: int) -> SigningKey:
        """Generate a key pair and encrypt its private key."""


class Signer(Protocol):
    """Signs tokens."""

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign with these keys from now on."""

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return the signed token. Raises `UnavailableError` while there are no keys."""


class Hasher(Protocol):
    """Hashes and verifies secrets without blocking the event loop."""

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        """Hash a secret; with the salt of another hash of the same client, both can be verified at the cost of one."""

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        """Return the hash that matches the secret. Takes the same time for any outcome, also without hashes.

        `low_priority` calls have a queue of their own, so that guesses do not delay other calls. Raises
        `ContentionError` when the queue is full.
        """


class Publisher(Protocol):
    """Publishes to the other services."""

    async def publish_sites(self, sites: Sequence[Site]) -> None:
        """Publish sites; returns when all in-sync replicas have them."""

    async def publish_revocations(self, revocations: Sequence[Revocation]) -> None:
        """Publish revocations; returns when all in-sync replicas have them."""
