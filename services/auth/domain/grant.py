"""What a token is going to say."""

import math
from dataclasses import dataclass

from services.auth.domain.audience import Audience
from services.auth.domain.client import Client
from services.auth.domain.oauth_error import INVALID_SCOPE, UNAUTHORIZED_CLIENT, OAuthError

TOKEN_LIFETIME_S = 28_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Scopes that a client gets; `narrowed` when it asked for fewer than it could have had."""

    client: Client
    audience: Audience
    scopes: tuple[str, ...]
    is_narrowed: bool


def grant_scopes(client: Client, audience: Audience, requested: tuple[str, ...] | None) -> Grant | OAuthError:
    """What the client gets of what it asked for: all of it or nothing; its default when it asked for nothing."""
    possible = tuple(scope for scope in audience.scopes if scope in client.scopes)
    if not possible:
        return UNAUTHORIZED_CLIENT
    if requested is None:
        return Grant(client=client, audience=audience, scopes=possible, is_narrowed=False)
    if not set(requested) <= set(possible):
        return INVALID_SCOPE
    scopes = tuple(scope for scope in possible if scope in requested)
    return Grant(client=client, audience=audience, scopes=scopes, is_narrowed=scopes != possible)


def issue_time(now: float, *, revoked_before: float) -> int:
    """The instant, in whole seconds, that a token of now is issued at.

    In the second in which the client's earlier tokens were revoked the next one counts: a token that the client gets
    afterwards must not look like one from before.
    """
    return max(int(now), math.ceil(revoked_before))


def build_claims(grant: Grant, *, issuer: str, issued_at: int, token_id: str) -> dict[str, object]:
    """The claims of the token (RFC 9068, with the site and its keys)."""
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
