"""Manages sites and clients for operators: stores and publishes their changes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.auth import metrics
from services.auth.domain.audience import ADMIN
from services.auth.domain.client import (
    Client,
    ClientNotFoundError,
    RuleViolationError,
    Secret,
    with_secret,
    without_secret,
)
from services.auth.domain.revocation import Revocation, client_revocation, token_id_revocation
from services.auth.domain.tenants import ClientChange, DeclaredClient, InvalidDocumentError, Tenants
from services.auth.ports import ClientStore, Hasher, Publisher, RevocationStore, SiteStore
from services.chassis.runtime.errors import ContentionError
from services.chassis.security.audit import AuditLog
from services.values.sites import Site

# Compare-and-set attempts of one change, each of which another change may win.
MAX_ATTEMPTS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementDeps:
    """Dependencies of managing sites and clients. `actor` and `source` go into the audit lines."""

    sites: SiteStore
    clients: ClientStore
    revocations: RevocationStore
    hasher: Hasher
    publisher: Publisher
    audit: AuditLog
    now: Callable[[], float]
    new_id: Callable[[], str]
    new_secret: Callable[[], str]
    actor: str
    source: str

    def record(self, action: str, **details: object) -> None:
        """Write an audit line of the actor."""
        self.audit.record(action, actor=self.actor, source=self.source, **details)


async def load_tenants(tenants: Tenants, deps: ManagementDeps) -> tuple[int, int]:
    """Apply a document of sites and clients; return how many of each changed. Idempotent.

    The declared secret replaces a client's secrets, unless it is one of the active ones. Raises
    `InvalidDocumentError`, `ApiKeyConflictError`, `UnavailableError`.
    """
    sites = [site for site in tenants.sites if await save_site(site, deps)]
    await deps.publisher.publish_sites(sites)
    clients = [await _save_client(client, deps) for client in tenants.clients]
    return len(sites), sum(clients)


async def add_site(site: Site, deps: ManagementDeps) -> bool:
    """Store and publish a site; False if it was stored like this already.

    Raises `ApiKeyConflictError`, `UnavailableError`.
    """
    is_changed = await save_site(site, deps)
    if is_changed:
        await deps.publisher.publish_sites([site])
    return is_changed


async def save_site(site: Site, deps: ManagementDeps) -> bool:
    """Store a site without publishing it; False if it was stored like this already.

    Raises `ApiKeyConflictError`, `UnavailableError`.
    """
    for _ in range(MAX_ATTEMPTS):
        stored = await deps.sites.find(site.site)
        if stored and stored.site == site:
            return False
        if await deps.sites.save(site, expected_revision=stored.revision if stored else 0):
            deps.record("site saved", site=site.site)
            return True
    raise ContentionError(f"site {site.site}")


async def publish_missing_sites(published: Callable[[int], Site | None], deps: ManagementDeps) -> int:
    """Publish each stored site that differs from the published one; return how many. Raises `UnavailableError`."""
    missing = [site for site in await deps.sites.all() if site != published(site.site)]
    await deps.publisher.publish_sites(missing)
    return len(missing)


async def add_client(client: Client, deps: ManagementDeps) -> str:
    """Store a new client and return its secret, which cannot be read again.

    Raises `InvalidDocumentError`, `RuleViolationError`, `UnavailableError`.
    """
    await _validate_client(client, deps)
    plain, secret = await _new_secret(None, deps)
    if not await deps.clients.save(replace(client, secrets=(secret,), revision=0)):
        raise RuleViolationError(f"client {client.client_id} exists already")
    deps.record("client added", client=client.client_id)
    return plain


async def change_client(client_id: str, change: ClientChange, deps: ManagementDeps) -> None:
    """Change a client's API keys and scopes. Issued tokens keep theirs until they expire or are revoked.

    Raises `InvalidDocumentError`, `RuleViolationError`, `UnavailableError`.
    """
    for _ in range(MAX_ATTEMPTS):
        client = await _load_client(client_id, deps)
        changed = replace(
            client,
            api_keys=client.api_keys if change.api_keys is None else change.api_keys,
            scopes=client.scopes if change.scopes is None else change.scopes,
        )
        await _validate_client(changed, deps)
        if await deps.clients.save(changed):
            deps.record("client changed", client=client_id)
            return
    raise _contention(client_id)


async def add_secret(client_id: str, deps: ManagementDeps, *, grace_s: int | None) -> str:
    """Add a secret to a client and return it. With `grace_s` the previous secrets expire after it.

    Raises `RuleViolationError`, `UnavailableError`.
    """
    for _ in range(MAX_ATTEMPTS):
        client = await _load_client(client_id, deps)
        plain, secret = await _new_secret(client, deps)
        if await deps.clients.save(with_secret(client, secret, now=deps.now(), grace_s=grace_s)):
            deps.record("secret added", client=client_id, secretId=secret.secret_id)
            return plain
    raise _contention(client_id)


async def remove_secret(client_id: str, secret_id: str, deps: ManagementDeps) -> None:
    """Remove a secret of a client; the last active one cannot be removed.

    Raises `RuleViolationError`, `UnavailableError`.
    """
    for _ in range(MAX_ATTEMPTS):
        client = await _load_client(client_id, deps)
        if await deps.clients.save(without_secret(client, secret_id, now=deps.now())):
            deps.record("secret removed", client=client_id, secretId=secret_id)
            return
    raise _contention(client_id)


async def revoke_client(client_id: str, deps: ManagementDeps) -> None:
    """Revoke all tokens that were issued to the client. Raises `RuleViolationError`, `UnavailableError`."""
    client = await _load_client(client_id, deps)
    revocation = client_revocation(client.client_id, now=deps.now())
    await deps.revocations.save(revocation)
    deps.record("client's tokens revoked", client=client_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOCATIONS.labels("client").inc()


async def revoke_token(token_id: str, deps: ManagementDeps) -> None:
    """Revoke the token with this id. Raises `RuleViolationError`, `UnavailableError`."""
    revocation = token_id_revocation(token_id, now=deps.now())
    await deps.revocations.save(revocation)
    deps.record("token revoked", tokenId=token_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOCATIONS.labels("token").inc()


async def publish_missing_revocations(is_published: Callable[[Revocation], bool], deps: ManagementDeps) -> int:
    """Publish each stored revocation that is not published; return how many. Raises `UnavailableError`."""
    stored = await deps.revocations.all()
    missing = [revocation for revocation in stored if revocation.until > deps.now() and not is_published(revocation)]
    await deps.publisher.publish_revocations(missing)
    return len(missing)


async def _save_client(declared: DeclaredClient, deps: ManagementDeps) -> bool:
    for _ in range(MAX_ATTEMPTS):
        stored = await deps.clients.find(declared.client.client_id)
        await _validate_client(declared.client, deps)
        secrets = await _reconcile_secrets(declared, stored, deps)
        changed = replace(declared.client, secrets=secrets, revision=stored.revision if stored else 0)
        if changed == stored:
            return False
        if await deps.clients.save(changed):
            deps.record("client saved", client=changed.client_id)
            return True
    raise _contention(declared.client.client_id)


async def _reconcile_secrets(
    declared: DeclaredClient, stored: Client | None, deps: ManagementDeps
) -> tuple[Secret, ...]:
    """Return the stored secrets if the declared one is among the active ones; else only the declared one."""
    hashes = [secret.hash for secret in stored.active_secrets(deps.now())] if stored else []
    if stored and hashes and await deps.hasher.verify(declared.secret, hashes) is not None:
        return stored.secrets
    hashed = await deps.hasher.hash(declared.secret)
    return (Secret(secret_id=deps.new_id(), hash=hashed, created_at=int(deps.now())),)


async def _validate_client(client: Client, deps: ManagementDeps) -> None:
    """Check that the client's site exists and has its API keys. A client that only administers has site 0."""
    if client.site == 0 and set(client.scopes) <= set(ADMIN.scopes) and not client.api_keys:
        return
    stored = await deps.sites.find(client.site)
    if stored is None:
        raise InvalidDocumentError(f"client {client.client_id}: there is no site {client.site}")
    foreign = set(client.api_keys) - {key.api_key for key in stored.site.api_keys}
    if foreign:
        raise InvalidDocumentError(
            f"client {client.client_id}: API key {min(foreign)} does not belong to site {client.site}"
        )


async def _new_secret(client: Client | None, deps: ManagementDeps) -> tuple[str, Secret]:
    plain = deps.new_secret()
    hashed = await deps.hasher.hash(plain, same_salt_as=client.secrets[0].hash if client and client.secrets else None)
    return plain, Secret(secret_id=deps.new_id(), hash=hashed, created_at=int(deps.now()))


async def _load_client(client_id: str, deps: ManagementDeps) -> Client:
    client = await deps.clients.find(client_id)
    if client is None:
        raise ClientNotFoundError("there is no such client")
    return client


def _contention(client_id: str) -> ContentionError:
    return ContentionError(f"client {client_id}")
