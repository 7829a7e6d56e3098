"""What a token is going to say."""

import math
from dataclasses import dataclass

from services.auth.domain.audience import Audience
from services.auth.domain.client import Client
from services.auth.domain.oauth_error import INVALID_SCOPE, UNAUTHORIZED_CLIENT, Refusal

LIFETIME_S = 28_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Scopes that a client gets; `narrowed` when it asked for fewer than it could have had."""

    client: Client
    audience: Audience
    scopes: tuple[str, ...]
    narrowed: bool


def grant(client: Client, audience: Audience, asked: tuple[str, ...] | None) -> Grant | Refusal:
    """What the client gets of what it asked for: all of it or nothing; its default when it asked for nothing."""
    possible = tuple(scope for scope in audience.scopes if scope in client.scopes)
    if not possible:
        return UNAUTHORIZED_CLIENT
    if asked is None:
        return Grant(client=client, audience=audience, scopes=possible, narrowed=False)
    if not set(asked) <= set(possible):
        return INVALID_SCOPE
    scopes = tuple(scope for scope in possible if scope in asked)
    return Grant(client=client, audience=audience, scopes=scopes, narrowed=scopes != possible)


def issued_at(now: float, *, revoked_before: float) -> int:
    """The instant, in whole seconds, that a token of now is issued at.

    In the second in which the client's earlier tokens were revoked the next one counts: a token that the client gets
    afterwards must not look like one from before.
    """
    return max(int(now), math.ceil(revoked_before))


def claims(granted: Grant, *, issuer: str, issued_at: int, token_id: str) -> dict[str, object]:
    """The claims of the token (RFC 9068, with the site and its keys)."""
    return {
        "iss": issuer,
        "aud": granted.audience.name,
        "sub": granted.client.client_id,
        "client_id": granted.client.client_id,
        "site": granted.client.site,
        "api_keys": list(granted.client.api_keys),
        "scope": " ".join(granted.scopes),
        "iat": issued_at,
        "exp": issued_at + LIFETIME_S,
        "jti": token_id,
    }
