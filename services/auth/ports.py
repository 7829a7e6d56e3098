"""What auth needs from the world."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.auth.domain.client import Client
from services.auth.domain.revocation import ActiveToken, Revocation
from services.auth.domain.signing import SigningKey
from services.auth.domain.site import Site


class ClientStore(Protocol):
    """Clients, kept."""

    async def find(self, client_id: str) -> Client | None:
        """The client of this id. Raises `Away`."""
        ...

    async def all(self) -> Sequence[Client]:
        """All clients, by id. Raises `Away`."""
        ...

    async def save(self, client: Client) -> bool:
        """Keep the client as its next revision, if its revision is the one that is kept; otherwise change nothing.

        Returns whether it was kept. Raises `Away`.
        """
        ...


class SiteStore(Protocol):
    """Sites, kept."""

    async def find(self, site: int) -> Site | None:
        """The site of this number. Raises `Away`."""
        ...

    async def all(self) -> Sequence[Site]:
        """All sites, by number. Raises `Away`."""
        ...

    async def save(self, site: Site) -> bool:
        """Keep the site as its next revision, if its revision is the one that is kept; otherwise change nothing.

        Returns whether it was kept. Raises `ApiKeyTaken`, or `Away`.
        """
        ...


class KeyStore(Protocol):
    """Signing keys, kept, shared by all replicas."""

    async def all(self) -> Sequence[SigningKey]:
        """All keys, by number. Raises `Away`."""
        ...

    async def add(self, key: SigningKey) -> bool:
        """Keep the key; False, and nothing changed, if there is one of its number. Raises `Away`."""
        ...


class RevocationStore(Protocol):
    """Revocations, kept until they matter no more."""

    async def save(self, revocation: Revocation) -> None:
        """Keep it; of two for one client the later one counts. Raises `Away`."""
        ...

    async def all(self) -> Sequence[Revocation]:
        """All that are kept. Raises `Away`."""
        ...


class Introspector(Protocol):
    """Reads tokens as the services that take them do."""

    async def introspect(self, token: str) -> ActiveToken | None:
        """What the token says, if any service would take it. Raises `Away` while that is unknown."""
        ...


class KeyGenerator(Protocol):
    """Makes key pairs, and alone can open them."""

    async def generate(self, *, number: int, created_at: int, signs_from: int) -> SigningKey:
        """A new key pair, its private half sealed."""
        ...


class Signer(Protocol):
    """Signs tokens with the keys that it is given."""

    def set_keys(self, keys: Sequence[SigningKey]) -> None:
        """Sign with these keys from now on."""
        ...

    def sign(self, claims: Mapping[str, object]) -> str:
        """The token. Raises `Away` while there are no keys."""
        ...


class Hasher(Protocol):
    """Hashes secrets, at a price that does not stop the loop."""

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        """The hash to be kept; `like` is another of the same client, so that both can be checked at one price."""
        ...

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        """The hash that the secret belongs to. Costs the same whatever the answer, and for no hashes at all.

        `patient` calls wait in a line of their own, so that who guesses does not hold up the others. Raises `Away`
        while too many wait in the same line.
        """
        ...


class Publisher(Protocol):
    """Tells the other services."""

    async def publish_sites(self, sites: Sequence[Site]) -> None:
        """Return when all in-sync replicas have the sites. Raises `Away`."""
        ...

    async def publish_revocations(self, revocations: Sequence[Revocation]) -> None:
        """Return when all in-sync replicas have the revocations. Raises `Away`."""
        ...


class AuditLog(Protocol):
    """Remembers who did what, when, from where."""

    def record(self, action: str, *, actor: str, source: str, **details: object) -> None:
        """Leave a line; it must hold no secret."""
        ...
