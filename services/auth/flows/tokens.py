"""From a client's credentials to its token, and to the end of a token."""

from collections.abc import Callable
from dataclasses import dataclass

from services.auth import metrics
from services.auth.domain.audience import Audience
from services.auth.domain.client import Client
from services.auth.domain.credentials import AboutToken, Presented, TokenRequest, read, read_about
from services.auth.domain.grant import LIFETIME_S, Grant, claims, grant, issued_at
from services.auth.domain.oauth_error import UNAUTHORIZED_CLIENT, Refusal, invalid_client, too_many_tries
from services.auth.domain.revocation import Inspected, described, of_token
from services.auth.ports import AuditLog, Clients, Hasher, Inspector, Publisher, Revocations, Signer
from services.chassis.http.ratelimit import Decision, RateLimit

FAILED_TRIES = 10
UNKNOWN = "unknown client"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything that issuing and revoking a token may touch."""

    clients: Clients
    hasher: Hasher
    signer: Signer
    inspector: Inspector
    revocations: Revocations
    revoked_before: Callable[[str], float]
    publisher: Publisher
    audit: AuditLog
    failed_tries: RateLimit
    issuer: str
    allow_query_secrets: bool
    now: Callable[[], float]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token, and what the client is told about it."""

    access_token: str
    expires_in: int
    scope: str | None


async def issue(presented: Presented, audience: Audience, *, caller: str, world: World) -> Issued | Refusal:
    """Answer one token request, and leave an audit line. Raises `Away` when the store does not answer."""
    request = read(presented, allow_query_secrets=world.allow_query_secrets)
    if isinstance(request, Refusal):
        return refused(request, audience, caller=caller, world=world)
    client = await _authenticated(request, audience, caller=caller, world=world)
    if isinstance(client, Refusal):
        return client
    granted = grant(client, audience, request.scopes)
    if isinstance(granted, Refusal):
        return refused(granted, audience, caller=caller, world=world, who=client.client_id)
    return _issued(granted, caller=caller, world=world)


async def revoke(presented: Presented, audience: Audience, *, caller: str, world: World) -> Refusal | None:
    """End a token of the caller's own before its time (RFC 7009); one that is good for nothing is as good as revoked.

    Returns once the other services can know of it. Raises `Away` otherwise: then it may be revoked, or will be soon.
    """
    about = await _own_token(presented, audience, caller=caller, world=world)
    if about is None or isinstance(about, Refusal):
        return about
    revocation = of_token(about)
    await world.revocations.keep(revocation)
    world.audit.record("token revoked", actor=about.client_id, source=caller, tokenId=about.token_id)
    await world.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("token").inc()
    return None


async def introspect(
    presented: Presented, audience: Audience, *, caller: str, world: World
) -> dict[str, object] | Refusal:
    """What a token of the caller's own says, if it is good (RFC 7662). Raises `Away`."""
    about = await _own_token(presented, audience, caller=caller, world=world)
    if about is UNAUTHORIZED_CLIENT:
        return described(None, issuer=world.issuer)
    return about if isinstance(about, Refusal) else described(about, issuer=world.issuer)


async def _own_token(
    presented: Presented, audience: Audience, *, caller: str, world: World
) -> Inspected | Refusal | None:
    """The token that a client asks about: None if it is good for nothing, a refusal if it is not the client's."""
    request = read_about(presented, allow_query_secrets=world.allow_query_secrets)
    if isinstance(request, Refusal):
        return refused(request, audience, caller=caller, world=world)
    client = await _authenticated(request, audience, caller=caller, world=world)
    if isinstance(client, Refusal):
        return client
    token = await world.inspector.inspect(request.token)
    if token is not None and token.client_id != client.client_id:
        return refused(UNAUTHORIZED_CLIENT, audience, caller=caller, world=world, who=client.client_id)
    return token


async def _authenticated(
    request: TokenRequest | AboutToken, audience: Audience, *, caller: str, world: World
) -> Client | Refusal:
    """The client whose secret this is. The right secret passes whatever was tried before."""
    key = f"{request.client_id}|{caller}"
    guessing = not world.failed_tries.acquire(key, limit=FAILED_TRIES, cost=0).allowed
    client = await world.clients.find(request.client_id)
    hashes = [kept.hashed for kept in client.active_secrets(world.now())] if client else []
    matched = await world.hasher.match(request.secret, hashes, patient=guessing)
    if client is not None and matched is not None:
        return client
    refusal = _wrong(client, world.failed_tries.acquire(key, limit=FAILED_TRIES))
    # An id that nobody has is not repeated: people paste secrets into the wrong field.
    who = client.client_id if client else UNKNOWN
    return refused(refusal, audience, caller=caller, world=world, who=who)


def _wrong(client: Client | None, tried: Decision) -> Refusal:
    if not tried.allowed:
        return too_many_tries(tried.retry_after_s)
    return invalid_client(reason="unknown_client" if client is None else "wrong_secret")


def refused(refusal: Refusal, audience: Audience, *, caller: str, world: World, who: str = UNKNOWN) -> Refusal:
    """The refusal, once it is counted and has left an audit line."""
    metrics.REFUSED.labels(audience.name, refusal.reason).inc()
    world.audit.record("token refused", actor=who, source=caller, audience=audience.name, reason=refusal.reason)
    return refusal


def _issued(granted: Grant, *, caller: str, world: World) -> Issued:
    began = issued_at(world.now(), revoked_before=world.revoked_before(granted.client.client_id))
    said = claims(granted, issuer=world.issuer, issued_at=began, token_id=world.new_id())
    token = world.signer.sign(said)
    metrics.ISSUED.labels(granted.audience.name).inc()
    world.audit.record(
        "token issued",
        actor=granted.client.client_id,
        source=caller,
        audience=granted.audience.name,
        scope=said["scope"],
        tokenId=said["jti"],
    )
    scope = " ".join(granted.scopes) if granted.narrowed else None
    return Issued(access_token=token, expires_in=LIFETIME_S, scope=scope)
