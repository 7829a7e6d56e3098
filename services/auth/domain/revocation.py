"""Revocations: tokens that are refused before they expire."""

import re
from dataclasses import dataclass
from urllib.parse import quote

from services.auth.domain.client import RuleViolationError
from services.auth.domain.grant import TOKEN_LIFETIME_S

# Verifiers accept a token for this long after its expiry.
VERIFIER_LEEWAY_S = 60
# Largest difference between what two processes take for the brokers' time: half a round trip for each.
CLOCK_TOLERANCE_S = 1.0
_TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """One token, or all tokens of a client issued before an instant. Times are seconds since the epoch.

    After `until` the revocation has no effect, because the tokens have expired.
    """

    token_id: str | None = None
    client_id: str | None = None
    issued_before: float | None = None
    until: float

    @property
    def key(self) -> str:
        """The token or client as the Kafka key and the store's id."""
        return quote(self.token_id or self.client_id or "", safe="!#$&'()*+,/:;=?@[]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveToken:
    """The claims of a token that a service would accept now."""

    token_id: str
    client_id: str
    audience: str
    site: int
    scopes: tuple[str, ...]
    issued_at: int
    expires_at: int


def token_revocation(token: ActiveToken) -> Revocation:
    """Build the revocation of this token."""
    return Revocation(token_id=token.token_id, until=token.expires_at + VERIFIER_LEEWAY_S)


def token_id_revocation(token_id: str, *, now: float) -> Revocation:
    """Build the revocation of the token with this id. Raises `RuleViolationError` for a malformed id."""
    if not _TOKEN_ID.fullmatch(token_id):
        # Not quoted: it may be the token itself.
        raise RuleViolationError("not a token id: send `tokenId` of the audit line or the token's `jti` claim")
    return Revocation(token_id=token_id, until=now + TOKEN_LIFETIME_S + VERIFIER_LEEWAY_S)


def client_revocation(client_id: str, *, now: float) -> Revocation:
    """Build the revocation of all tokens that any replica issued to the client before now.

    Tokens that are issued later get an issue time after `issued_before` (`issue_time`).
    """
    issued_before = now + CLOCK_TOLERANCE_S
    return Revocation(
        client_id=client_id, issued_before=issued_before, until=issued_before + TOKEN_LIFETIME_S + VERIFIER_LEEWAY_S
    )


def introspection_response(token: ActiveToken | None, *, issuer: str) -> dict[str, object]:
    """Build the introspection response (RFC 7662) of an active token, or of an inactive one."""
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
