"""From a client's credentials to its token, and to the end of a token."""

from collections.abc import Callable
from dataclasses import dataclass

from services.auth import metrics
from services.auth.domain.audience import Audience
from services.auth.domain.client import Client
from services.auth.domain.credentials import (
    TokenEndpointRequest,
    TokenQuery,
    TokenRequest,
    parse_token_query,
    parse_token_request,
)
from services.auth.domain.grant import TOKEN_LIFETIME_S, Grant, build_claims, grant_scopes, issue_time
from services.auth.domain.oauth_error import UNAUTHORIZED_CLIENT, OAuthError, invalid_client, too_many_attempts
from services.auth.domain.revocation import ActiveToken, introspection_response, token_revocation
from services.auth.ports import AuditLog, ClientStore, Hasher, Introspector, Publisher, RevocationStore, Signer
from services.chassis.http.ratelimit import Decision, RateLimit

MAX_FAILED_ATTEMPTS = 10
UNKNOWN_CLIENT = "unknown client"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDeps:
    """Everything that issuing and revoking a token may touch."""

    clients: ClientStore
    hasher: Hasher
    signer: Signer
    introspector: Introspector
    revocations: RevocationStore
    revoked_before: Callable[[str], float]
    publisher: Publisher
    audit: AuditLog
    failed_attempts: RateLimit
    issuer: str
    allow_query_secrets: bool
    now: Callable[[], float]
    new_id: Callable[[], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token, and what the client is told about it."""

    access_token: str
    expires_in: int
    scope: str | None


async def issue(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> IssuedToken | OAuthError:
    """Answer one token request, and leave an audit line. Raises `Away` when the store does not answer."""
    parsed = parse_token_request(request, allow_query_secrets=deps.allow_query_secrets)
    if isinstance(parsed, OAuthError):
        return record_refusal(parsed, audience, source=source, deps=deps)
    client = await _authenticated(parsed, audience, caller=source, world=deps)
    if isinstance(client, OAuthError):
        return client
    granted = grant_scopes(client, audience, parsed.scopes)
    if isinstance(granted, OAuthError):
        return record_refusal(granted, audience, source=source, deps=deps, actor=client.client_id)
    return _issued(granted, caller=source, world=deps)


async def revoke(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> OAuthError | None:
    """End a token of the caller's own before its time (RFC 7009); one that is good for nothing is as good as revoked.

    Returns once the other services can know of it. Raises `Away` otherwise: then it may be revoked, or will be soon.
    """
    about = await _own_token(request, audience, caller=source, world=deps)
    if about is None or isinstance(about, OAuthError):
        return about
    revocation = token_revocation(about)
    await deps.revocations.save(revocation)
    deps.audit.record("token revoked", actor=about.client_id, source=source, tokenId=about.token_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOKED.labels("token").inc()
    return None


async def introspect(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> dict[str, object] | OAuthError:
    """What a token of the caller's own says, if it is good (RFC 7662). Raises `Away`."""
    about = await _own_token(request, audience, caller=source, world=deps)
    if about is UNAUTHORIZED_CLIENT:
        return introspection_response(None, issuer=deps.issuer)
    return about if isinstance(about, OAuthError) else introspection_response(about, issuer=deps.issuer)


async def _own_token(
    presented: TokenEndpointRequest, audience: Audience, *, caller: str, world: TokenDeps
) -> ActiveToken | OAuthError | None:
    """The token that a client asks about: None if it is good for nothing, a refusal if it is not the client's."""
    request = parse_token_query(presented, allow_query_secrets=world.allow_query_secrets)
    if isinstance(request, OAuthError):
        return record_refusal(request, audience, source=caller, deps=world)
    client = await _authenticated(request, audience, caller=caller, world=world)
    if isinstance(client, OAuthError):
        return client
    token = await world.introspector.introspect(request.token)
    if token is not None and token.client_id != client.client_id:
        return record_refusal(UNAUTHORIZED_CLIENT, audience, source=caller, deps=world, actor=client.client_id)
    return token


async def _authenticated(
    request: TokenRequest | TokenQuery, audience: Audience, *, caller: str, world: TokenDeps
) -> Client | OAuthError:
    """The client whose secret this is. The right secret passes whatever was tried before."""
    key = f"{request.client_id}|{caller}"
    guessing = not world.failed_attempts.acquire(key, limit=MAX_FAILED_ATTEMPTS, cost=0).allowed
    client = await world.clients.find(request.client_id)
    hashes = [kept.hash for kept in client.active_secrets(world.now())] if client else []
    matched = await world.hasher.verify(request.secret, hashes, low_priority=guessing)
    if client is not None and matched is not None:
        return client
    refusal = _wrong(client, world.failed_attempts.acquire(key, limit=MAX_FAILED_ATTEMPTS))
    # An id that nobody has is not repeated: people paste secrets into the wrong field.
    who = client.client_id if client else UNKNOWN_CLIENT
    return record_refusal(refusal, audience, source=caller, deps=world, actor=who)


def _wrong(client: Client | None, tried: Decision) -> OAuthError:
    if not tried.allowed:
        return too_many_attempts(tried.retry_after_s)
    return invalid_client(reason="unknown_client" if client is None else "wrong_secret")


def record_refusal(
    error: OAuthError, audience: Audience, *, source: str, deps: TokenDeps, actor: str = UNKNOWN_CLIENT
) -> OAuthError:
    """The refusal, once it is counted and has left an audit line."""
    metrics.REFUSED.labels(audience.name, error.reason).inc()
    deps.audit.record("token refused", actor=actor, source=source, audience=audience.name, reason=error.reason)
    return error


def _issued(granted: Grant, *, caller: str, world: TokenDeps) -> IssuedToken:
    began = issue_time(world.now(), revoked_before=world.revoked_before(granted.client.client_id))
    said = build_claims(granted, issuer=world.issuer, issued_at=began, token_id=world.new_id())
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
    scope = " ".join(granted.scopes) if granted.is_narrowed else None
    return IssuedToken(access_token=token, expires_in=TOKEN_LIFETIME_S, scope=scope)
