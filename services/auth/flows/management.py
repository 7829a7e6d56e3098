"""From an operator's wishes to sites and clients that are kept and published."""

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
from services.auth.domain.site import Site
from services.auth.domain.tenants import ClientChange, DeclaredClient, InvalidDocumentError, Tenants
from services.auth.ports import AuditLog, ClientStore, Hasher, Publisher, RevocationStore, SiteStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementDeps:
    """Everything that managing sites and clients may touch; `who` and `where` go into the audit lines."""

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


async def load_tenants(tenants: Tenants, deps: ManagementDeps) -> tuple[int, int]:
    """Make sites and clients what the document says; returns how many of each had to change.

    A client's secrets become the document's one, unless that is one of its active secrets already. Doing it again
    changes nothing. Raises `BadDocument`, `ApiKeyTaken`, `Away`.
    """
    sites = [site for wanted in tenants.sites if (site := await save_site(wanted, deps)) is not None]
    await deps.publisher.publish_sites(sites)
    clients = [await _save_client(wanted, deps) for wanted in tenants.clients]
    return len(sites), sum(clients)


async def save_site(desired: Site, deps: ManagementDeps) -> Site | None:
    """Keep a site as it is wanted; None if it was so already. It is yet to be published."""
    while True:
        kept = await deps.sites.find(desired.site)
        changed = replace(desired, revision=kept.revision if kept else 0)
        if changed == kept:
            return None
        if await deps.sites.save(changed):
            deps.audit.record("site saved", actor=deps.actor, source=deps.source, site=desired.site)
            return changed


async def _save_client(wanted: DeclaredClient, office: ManagementDeps) -> bool:
    while True:
        kept = await office.clients.find(wanted.client.client_id)
        await _validate_client(wanted.client, office)
        secrets = await _reconcile_secrets(wanted, kept, office)
        changed = replace(wanted.client, secrets=secrets, revision=kept.revision if kept else 0)
        if changed == kept:
            return False
        if await office.clients.save(changed):
            office.audit.record("client saved", actor=office.actor, source=office.source, client=changed.client_id)
            return True


async def _reconcile_secrets(wanted: DeclaredClient, kept: Client | None, office: ManagementDeps) -> tuple[Secret, ...]:
    """What is kept, if the wanted secret is among it; else the wanted one alone."""
    hashes = [secret.hash for secret in kept.active_secrets(office.now())] if kept else []
    if kept and hashes and await office.hasher.verify(wanted.secret, hashes) is not None:
        return kept.secrets
    hashed = await office.hasher.hash(wanted.secret)
    return (Secret(secret_id=office.new_id(), hash=hashed, created_at=int(office.now())),)


async def _validate_client(client: Client, office: ManagementDeps) -> None:
    """A client's site must be there, and its API keys be the site's. Who only administers belongs to none: site 0."""
    if client.site == 0 and set(client.scopes) <= set(ADMIN.scopes) and not client.api_keys:
        return
    site = await office.sites.find(client.site)
    if site is None:
        raise InvalidDocumentError(f"client {client.client_id}: there is no site {client.site}")
    strange = set(client.api_keys) - {key.api_key for key in site.api_keys}
    if strange:
        raise InvalidDocumentError(f"client {client.client_id}: API key {min(strange)} is not of site {client.site}")


async def publish_missing_sites(published: Callable[[int], Site | None], deps: ManagementDeps) -> int:
    """Publish each site that others do not know as it is kept; returns how many. Raises `Away`."""
    missing = [site for site in await deps.sites.all() if _told(site) != published(site.site)]
    await deps.publisher.publish_sites(missing)
    return len(missing)


async def revoke_client(client_id: str, deps: ManagementDeps) -> None:
    """Refuse all tokens that the client was given until now. Raises `NotPossible`, `Away`."""
    client = await _load_client(client_id, deps)
    revocation = client_revocation(client.client_id, now=deps.now())
    await deps.revocations.save(revocation)
    deps.audit.record("client's tokens revoked", actor=deps.actor, source=deps.source, client=client_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("client").inc()


async def revoke_token(token_id: str, deps: ManagementDeps) -> None:
    """Refuse one token, known by its id. Raises `NotPossible`, `Away`."""
    revocation = token_id_revocation(token_id, now=deps.now())
    await deps.revocations.save(revocation)
    deps.audit.record("token revoked", actor=deps.actor, source=deps.source, tokenId=token_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("token").inc()


async def publish_missing_revocations(is_published: Callable[[Revocation], bool], deps: ManagementDeps) -> int:
    """Publish each revocation that others do not know; returns how many. Raises `Away`."""
    missing = [one for one in await deps.revocations.all() if one.until > deps.now() and not is_published(one)]
    await deps.publisher.publish_revocations(missing)
    return len(missing)


def _told(site: Site) -> Site:
    """What others are told: all but the revision."""
    return replace(site, revision=0)


async def add_site(desired: Site, deps: ManagementDeps) -> bool:
    """Keep and publish a site; False if it was so already. Raises `ApiKeyTaken`, `Away`."""
    saved = await save_site(desired, deps)
    await deps.publisher.publish_sites([saved] if saved else [])
    return saved is not None


async def add_client(client: Client, deps: ManagementDeps) -> str:
    """Keep a new client; returns its secret, which nobody will see again.

    Raises `BadDocument`, `NotPossible`, `Away`.
    """
    await _validate_client(client, deps)
    plain, secret = await _new_secret(None, deps)
    if not await deps.clients.save(replace(client, secrets=(secret,), revision=0)):
        raise RuleViolationError(f"there is a client {client.client_id} already")
    deps.audit.record("client added", actor=deps.actor, source=deps.source, client=client.client_id)
    return plain


async def change_client(client_id: str, change: ClientChange, deps: ManagementDeps) -> None:
    """Change a client's API keys and scopes; tokens that it has keep theirs until they expire or are revoked.

    Raises `BadDocument`, `NotPossible`, `Away`.
    """
    while True:
        client = await _load_client(client_id, deps)
        changed = replace(
            client,
            api_keys=client.api_keys if change.api_keys is None else change.api_keys,
            scopes=client.scopes if change.scopes is None else change.scopes,
        )
        await _validate_client(changed, deps)
        if await deps.clients.save(changed):
            deps.audit.record("client changed", actor=deps.actor, source=deps.source, client=client_id)
            return


async def add_secret(client_id: str, deps: ManagementDeps, *, grace_s: int | None) -> str:
    """Give a client one more secret; returns it. Those before it end after `grace_s`, if that is given.

    Raises `NotPossible`, `Away`.
    """
    while True:
        client = await _load_client(client_id, deps)
        plain, secret = await _new_secret(client, deps)
        if await deps.clients.save(with_secret(client, secret, now=deps.now(), grace_s=grace_s)):
            _record_secret_change("secret added", client_id, secret.secret_id, deps)
            return plain


async def remove_secret(client_id: str, secret_id: str, deps: ManagementDeps) -> None:
    """Take a secret from a client, at once; the last active one stays. Raises `NotPossible`, `Away`."""
    while True:
        client = await _load_client(client_id, deps)
        if await deps.clients.save(without_secret(client, secret_id, now=deps.now())):
            _record_secret_change("secret removed", client_id, secret_id, deps)
            return


async def _new_secret(client: Client | None, office: ManagementDeps) -> tuple[str, Secret]:
    plain = office.new_secret()
    like = client.secrets[0].hash if client and client.secrets else None
    hashed = await office.hasher.hash(plain, same_salt_as=like)
    return plain, Secret(secret_id=office.new_id(), hash=hashed, created_at=int(office.now()))


async def _load_client(client_id: str, office: ManagementDeps) -> Client:
    client = await office.clients.find(client_id)
    if client is None:
        raise ClientNotFoundError("there is no such client")
    return client


def _record_secret_change(what: str, client_id: str, secret_id: str, office: ManagementDeps) -> None:
    office.audit.record(what, actor=office.actor, source=office.source, client=client_id, secretId=secret_id)
