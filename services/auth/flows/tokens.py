"""Issues, revokes and introspects tokens for authenticated clients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
from services.auth.ports import ClientStore, Hasher, Introspector, Publisher, RevocationStore, Signer
from services.chassis.http.rate_limit import RateLimit
from services.chassis.security.audit import AuditLog

MAX_FAILED_ATTEMPTS = 10
UNKNOWN_CLIENT = "unknown client"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDeps:
    """Dependencies and settings of the OAuth endpoints."""

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


async def issue(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> dict[str, Any] | OAuthError:
    """Return the response to a token request (RFC 6749, 5.1) and write an audit line. Raises `UnavailableError`."""
    parsed = parse_token_request(request, allow_query_secrets=deps.allow_query_secrets)
    if isinstance(parsed, OAuthError):
        return record_refusal(parsed, audience, source=source, deps=deps)
    client = await _authenticate(parsed, audience, source=source, deps=deps)
    if isinstance(client, OAuthError):
        return client
    grant = grant_scopes(client, audience, parsed.scopes)
    if isinstance(grant, OAuthError):
        return record_refusal(grant, audience, source=source, deps=deps, actor=client.client_id)
    return _issue_token(grant, source=source, deps=deps)


async def revoke(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> OAuthError | None:
    """Revoke one of the client's own tokens (RFC 7009); an inactive token counts as revoked.

    Returns once the revocation is published. Raises `UnavailableError`: the token may be revoked then, or will be soon.
    """
    token = await _load_own_token(request, audience, source=source, deps=deps)
    if token is None or isinstance(token, OAuthError):
        return token
    revocation = token_revocation(token)
    await deps.revocations.save(revocation)
    deps.audit.record("token revoked", actor=token.client_id, source=source, tokenId=token.token_id)
    await deps.publisher.publish_revocations([revocation])
    metrics.REVOCATIONS.labels("token").inc()
    return None


async def introspect(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> dict[str, Any] | OAuthError:
    """Introspect one of the client's own tokens (RFC 7662). Raises `UnavailableError`."""
    token = await _load_own_token(request, audience, source=source, deps=deps)
    if token is UNAUTHORIZED_CLIENT:
        return introspection_response(None, issuer=deps.issuer)
    return token if isinstance(token, OAuthError) else introspection_response(token, issuer=deps.issuer)


async def _load_own_token(
    request: TokenEndpointRequest, audience: Audience, *, source: str, deps: TokenDeps
) -> ActiveToken | OAuthError | None:
    """Authenticate the client and verify its token: None for an inactive token, an error for another client's."""
    parsed = parse_token_query(request, allow_query_secrets=deps.allow_query_secrets)
    if isinstance(parsed, OAuthError):
        return record_refusal(parsed, audience, source=source, deps=deps)
    client = await _authenticate(parsed, audience, source=source, deps=deps)
    if isinstance(client, OAuthError):
        return client
    token = await deps.introspector.introspect(parsed.token)
    if token is not None and token.client_id != client.client_id:
        return record_refusal(UNAUTHORIZED_CLIENT, audience, source=source, deps=deps, actor=client.client_id)
    return token


async def _authenticate(
    request: TokenRequest | TokenQuery, audience: Audience, *, source: str, deps: TokenDeps
) -> Client | OAuthError:
    """Return the client if its secret is right, whatever failed before; each failure counts as an attempt."""
    key = f"{request.client_id}|{source}"
    is_guessing = not deps.failed_attempts.peek(key, limit=MAX_FAILED_ATTEMPTS).allowed
    client = await deps.clients.find(request.client_id)
    hashes = [secret.hash for secret in client.active_secrets(deps.now())] if client else []
    match = await deps.hasher.verify(request.secret, hashes, low_priority=is_guessing)
    if client is not None and match is not None:
        return client
    attempt = deps.failed_attempts.acquire(key, limit=MAX_FAILED_ATTEMPTS)
    if not attempt.allowed:
        error = too_many_attempts(attempt.retry_after_s)
    else:
        error = invalid_client(reason="unknown_client" if client is None else "wrong_secret")
    # An unknown id is not logged: people paste secrets into the wrong field.
    actor = client.client_id if client else UNKNOWN_CLIENT
    return record_refusal(error, audience, source=source, deps=deps, actor=actor)


def record_refusal(
    error: OAuthError, audience: Audience, *, source: str, deps: TokenDeps, actor: str = UNKNOWN_CLIENT
) -> OAuthError:
    """Count the error, write an audit line, and return the error."""
    metrics.TOKENS_REFUSED.labels(audience.name, error.reason).inc()
    deps.audit.record("token refused", actor=actor, source=source, audience=audience.name, reason=error.reason)
    return error


def _issue_token(grant: Grant, *, source: str, deps: TokenDeps) -> dict[str, Any]:
    issued_at = issue_time(deps.now(), revoked_before=deps.revoked_before(grant.client.client_id))
    claims = build_claims(grant, issuer=deps.issuer, issued_at=issued_at, token_id=deps.new_id())
    token = deps.signer.sign(claims)
    metrics.TOKENS_ISSUED.labels(grant.audience.name).inc()
    deps.audit.record(
        "token issued",
        actor=grant.client.client_id,
        source=source,
        audience=grant.audience.name,
        scope=claims["scope"],
        tokenId=claims["jti"],
    )
    body = {"token_type": "bearer", "access_token": token, "expires_in": TOKEN_LIFETIME_S}
    return {**body, "scope": claims["scope"]} if grant.is_narrowed else body
