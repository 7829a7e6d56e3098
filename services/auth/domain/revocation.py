"""Tokens that are refused before they expire."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from services.auth.domain.client import RuleViolationError

LIFETIME_S = 28_800
# What verifiers grant beyond a token's end.
VERIFIER_LEEWAY_S = 60
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One token, or all tokens of a client issued before an instant. Times are seconds since the epoch."""

    token_id: str | None = None
    client_id: str | None = None
    issued_before: float | None = None
    until: float

    @property
    def key(self) -> str:
        """What is revoked, as the topic's key and the store's id."""
        return quote(self.token_id or self.client_id or "", safe="!#$&'()*+,/:;=?@[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveToken:
    """What a token of ours says that is good now."""

    token_id: str
    client_id: str
    audience: str
    site: int
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int


def token_revocation(token: ActiveToken) -> Revocation:
    """From now on this token is refused."""
    return Revocation(token_id=token.token_id, until=token.expires_at + VERIFIER_LEEWAY_S)


def token_id_revocation(token_id: str, *, now: float) -> Revocation:
    """From now on the token of this id is refused, whenever it was issued. Raises `NotPossible` for what is no id."""
    if not _TOKEN_ID.fullmatch(token_id):
        # It may be the token itself: it is not repeated.
        raise RuleViolationError("this is no token's id: audit lines tell it as `tokenId`, the token itself as `jti`")
    return Revocation(token_id=token_id, until=now + LIFETIME_S + VERIFIER_LEEWAY_S)


def client_revocation(client_id: str, *, now: float) -> Revocation:
    """From now on all that the client was given before is refused."""
    return Revocation(client_id=client_id, issued_before=now, until=now + LIFETIME_S + VERIFIER_LEEWAY_S)


def introspection_response(token: ActiveToken | None, *, issuer: str) -> dict[str, object]:
    """The answer of RFC 7662."""
    if token is None:
        return {"active": False}
    return {
        "active": True,
        "scope": " ".join(token.scopes),
        "client_id": token.client_id,
        "token_type": "bearer",
        "exp": token.expires_at,
        "iat": token.issued_at,
        "sub": token.client_id,
        "aud": token.audience,
        "iss": issuer,
        "jti": token.token_id,
        "site": token.site,
    }
