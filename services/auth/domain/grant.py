"""Scopes and claims of a new token."""

import math
from dataclasses import dataclass

from services.auth.domain.audience import Audience
from services.auth.domain.client import Client
from services.auth.domain.oauth_error import INVALID_SCOPE, UNAUTHORIZED_CLIENT, OAuthError

TOKEN_LIFETIME_S = 28_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The scopes that a client gets; `is_narrowed` when it requested fewer than it has."""

    client: Client
    audience: Audience
    scopes: tuple[str, ...]
    is_narrowed: bool


def grant_scopes(client: Client, audience: Audience, requested: tuple[str, ...] | None) -> Grant | OAuthError:
    """Grant all requested scopes or none; without a request, all scopes that the client has for the API."""
    available = tuple(scope for scope in audience.scopes if scope in client.scopes)
    if not available:
        return UNAUTHORIZED_CLIENT
    if requested is None:
        return Grant(client=client, audience=audience, scopes=available, is_narrowed=False)
    if not set(requested) <= set(available):
        return INVALID_SCOPE
    scopes = tuple(scope for scope in available if scope in requested)
    return Grant(client=client, audience=audience, scopes=scopes, is_narrowed=scopes != available)


def issue_time(now: float, *, revoked_before: float) -> int:
    """Return the `iat` claim, in whole seconds, of a token that is issued now.

    In the second in which the client's tokens were revoked it is the next second: a token issued after the
    revocation must not look older than it.
    """
    return max(int(now), math.ceil(revoked_before))


def build_claims(grant: Grant, *, issuer: str, issued_at: int, token_id: str) -> dict[str, object]:
    """Build the claims of the token (RFC 9068, plus the site and its API keys)."""
    return {
        "iss": issuer,
        "aud": grant.audience.name,
        "sub": grant.client.client_id,
        "client_id": grant.client.client_id,
        "site": grant.client.site,
        "api_keys": list(grant.client.api_keys),
        "scope": " ".join(grant.scopes),
        "iat": issued_at,
        "exp": issued_at + TOKEN_LIFETIME_S,
        "jti": token_id,
    }
