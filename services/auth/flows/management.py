"""From an operator's wishes to sites and clients that are kept and published."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.auth import metrics
from services.auth.domain.audience import ADMIN
from services.auth.domain.client import Client, NoSuchClient, NotPossible, Secret, with_secret, without_secret
from services.auth.domain.revocation import Revocation, of_client, of_token_id
from services.auth.domain.site import Site
from services.auth.domain.tenants import BadDocument, ClientChange, ClientWanted, Tenants
from services.auth.ports import AuditLog, Clients, Hasher, Publisher, Revocations, Sites


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Everything that managing sites and clients may touch; `who` and `where` go into the audit lines."""

    sites: Sites
    clients: Clients
    revocations: Revocations
    hasher: Hasher
    publisher: Publisher
    audit: AuditLog
    now: Callable[[], float]
    new_id: Callable[[], str]
    new_secret: Callable[[], str]
    who: str
    where: str


async def load_tenants(tenants: Tenants, office: Office) -> tuple[int, int]:
    """Make sites and clients what the document says; returns how many of each had to change.

    A client's secrets become the document's one, unless that is one of its active secrets already. Doing it again
    changes nothing. Raises `BadDocument`, `ApiKeyTaken`, `Away`.
    """
    sites = [site for wanted in tenants.sites if (site := await save_site(wanted, office)) is not None]
    await office.publisher.publish(sites)
    clients = [await _save_wanted(wanted, office) for wanted in tenants.clients]
    return len(sites), sum(clients)


async def save_site(wanted: Site, office: Office) -> Site | None:
    """Keep a site as it is wanted; None if it was so already. It is yet to be published."""
    while True:
        kept = await office.sites.find(wanted.site)
        changed = replace(wanted, revision=kept.revision if kept else 0)
        if changed == kept:
            return None
        if await office.sites.save(changed):
            office.audit.record("site saved", actor=office.who, source=office.where, site=wanted.site)
            return changed


async def _save_wanted(wanted: ClientWanted, office: Office) -> bool:
    while True:
        kept = await office.clients.find(wanted.client.client_id)
        await _must_fit(wanted.client, office)
        secrets = await _secrets(wanted, kept, office)
        changed = replace(wanted.client, secrets=secrets, revision=kept.revision if kept else 0)
        if changed == kept:
            return False
        if await office.clients.save(changed):
            office.audit.record("client saved", actor=office.who, source=office.where, client=changed.client_id)
            return True


async def _secrets(wanted: ClientWanted, kept: Client | None, office: Office) -> tuple[Secret, ...]:
    """What is kept, if the wanted secret is among it; else the wanted one alone."""
    hashes = [secret.hashed for secret in kept.active_secrets(office.now())] if kept else []
    if kept and hashes and await office.hasher.match(wanted.secret, hashes) is not None:
        return kept.secrets
    hashed = await office.hasher.hash(wanted.secret)
    return (Secret(secret_id=office.new_id(), hashed=hashed, created_at=int(office.now())),)


async def _must_fit(client: Client, office: Office) -> None:
    """A client's site must be there, and its API keys be the site's. Who only administers belongs to none: site 0."""
    if client.site == 0 and set(client.scopes) <= set(ADMIN.scopes) and not client.api_keys:
        return
    site = await office.sites.find(client.site)
    if site is None:
        raise BadDocument(f"client {client.client_id}: there is no site {client.site}")
    strange = set(client.api_keys) - {key.api_key for key in site.api_keys}
    if strange:
        raise BadDocument(f"client {client.client_id}: API key {min(strange)} is not of site {client.site}")


async def publish_missing(published: Callable[[int], Site | None], office: Office) -> int:
    """Publish each site that others do not know as it is kept; returns how many. Raises `Away`."""
    missing = [site for site in await office.sites.all() if _told(site) != published(site.site)]
    await office.publisher.publish(missing)
    return len(missing)


async def revoke_client(client_id: str, office: Office) -> None:
    """Refuse all tokens that the client was given until now. Raises `NotPossible`, `Away`."""
    client = await _known(client_id, office)
    revocation = of_client(client.client_id, now=office.now())
    await office.revocations.keep(revocation)
    office.audit.record("client's tokens revoked", actor=office.who, source=office.where, client=client_id)
    await office.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("client").inc()


async def revoke_token(token_id: str, office: Office) -> None:
    """Refuse one token, known by its id. Raises `NotPossible`, `Away`."""
    revocation = of_token_id(token_id, now=office.now())
    await office.revocations.keep(revocation)
    office.audit.record("token revoked", actor=office.who, source=office.where, tokenId=token_id)
    await office.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("token").inc()


async def publish_missing_revocations(is_published: Callable[[Revocation], bool], office: Office) -> int:
    """Publish each revocation that others do not know; returns how many. Raises `Away`."""
    missing = [one for one in await office.revocations.all() if one.until > office.now() and not is_published(one)]
    await office.publisher.publish_revocations(missing)
    return len(missing)


def _told(site: Site) -> Site:
    """What others are told: all but the revision."""
    return replace(site, revision=0)


async def add_site(wanted: Site, office: Office) -> bool:
    """Keep and publish a site; False if it was so already. Raises `ApiKeyTaken`, `Away`."""
    saved = await save_site(wanted, office)
    await office.publisher.publish([saved] if saved else [])
    return saved is not None


async def add_client(client: Client, office: Office) -> str:
    """Keep a new client; returns its secret, which nobody will see again.

    Raises `BadDocument`, `NotPossible`, `Away`.
    """
    await _must_fit(client, office)
    plain, secret = await _new_secret(None, office)
    if not await office.clients.save(replace(client, secrets=(secret,), revision=0)):
        raise NotPossible(f"there is a client {client.client_id} already")
    office.audit.record("client added", actor=office.who, source=office.where, client=client.client_id)
    return plain


async def change_client(client_id: str, wanted: ClientChange, office: Office) -> None:
    """Change a client's API keys and scopes; tokens that it has keep theirs until they expire or are revoked.

    Raises `BadDocument`, `NotPossible`, `Away`.
    """
    while True:
        client = await _known(client_id, office)
        changed = replace(
            client,
            api_keys=client.api_keys if wanted.api_keys is None else wanted.api_keys,
            scopes=client.scopes if wanted.scopes is None else wanted.scopes,
        )
        await _must_fit(changed, office)
        if await office.clients.save(changed):
            office.audit.record("client changed", actor=office.who, source=office.where, client=client_id)
            return


async def add_secret(client_id: str, office: Office, *, grace_s: int | None) -> str:
    """Give a client one more secret; returns it. Those before it end after `grace_s`, if that is given.

    Raises `NotPossible`, `Away`.
    """
    while True:
        client = await _known(client_id, office)
        plain, secret = await _new_secret(client, office)
        if await office.clients.save(with_secret(client, secret, now=office.now(), grace_s=grace_s)):
            _note_secret("secret added", client_id, secret.secret_id, office)
            return plain


async def remove_secret(client_id: str, secret_id: str, office: Office) -> None:
    """Take a secret from a client, at once; the last active one stays. Raises `NotPossible`, `Away`."""
    while True:
        client = await _known(client_id, office)
        if await office.clients.save(without_secret(client, secret_id, now=office.now())):
            _note_secret("secret removed", client_id, secret_id, office)
            return


async def _new_secret(client: Client | None, office: Office) -> tuple[str, Secret]:
    plain = office.new_secret()
    like = client.secrets[0].hashed if client and client.secrets else None
    hashed = await office.hasher.hash(plain, like=like)
    return plain, Secret(secret_id=office.new_id(), hashed=hashed, created_at=int(office.now()))


async def _known(client_id: str, office: Office) -> Client:
    client = await office.clients.find(client_id)
    if client is None:
        raise NoSuchClient("there is no such client")
    return client


def _note_secret(what: str, client_id: str, secret_id: str, office: Office) -> None:
    office.audit.record(what, actor=office.who, source=office.where, client=client_id, secretId=secret_id)
