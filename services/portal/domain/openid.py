"""OpenID Connect: requests to an issuer, and checks of its answers (OpenID Connect Core, RFC 7636, RFC 9207)."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from services.portal.domain.origins import is_loopback, may_be_loopback

ALGORITHMS = ("RS256", "ES256")
# Between pressing the button and coming back; the issuer may ask for a second factor. An ID token is not older.
PENDING_S = 600
LEEWAY_S = 60
MAX_TIME_S = 1e11
MAX_SUBJECT_CHARACTERS = 255
MAX_HINT_CHARACTERS = 4_096
_ACCOUNT_DIGITS = 16


class InvalidIdTokenError(Exception):
    """An ID token does not hold. The text says why, and quotes nothing of it."""


class InvalidCodeError(Exception):
    """The issuer does not accept a code: it is too old, was used before, or is of another sign-in."""


class InvalidMetadataError(Exception):
    """The issuer's discovery document does not fit its configuration. The text says why."""


class IssuerError(Exception):
    """The issuer does not answer, or not as it is configured. The text says why."""


class MappedClient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A client that people of the issuer sign in as."""

    client_id: str
    client_secret: str

    def __repr__(self) -> str:
        return f"MappedClient(client_id={self.client_id!r})"


class PendingSignIn(Struct, frozen=True, kw_only=True):
    """A sign-in whose person is at the issuer.

    `id` is a digest of the state, `browser` one of the cookie. `replaced` is the id of the browser's earlier session.
    """

    id: str
    browser: str
    nonce: str
    verifier: str
    target: str
    replaced: str | None
    expires_us: int


class Metadata(Struct, frozen=True, kw_only=True):
    """What the portal needs of a discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None
    code_challenge_methods_supported: tuple[str, ...] = ("S256",)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


def parse_clients(text: str) -> dict[str, MappedClient]:
    """Parse a JSON object of clients by value of the claim; raises `ValueError`, which quotes nothing."""
    try:
        clients = msgspec.convert(json.loads(text, object_pairs_hook=_reject_duplicates), dict[str, MappedClient])
    except (ValueError, RecursionError):
        raise ValueError("must be a JSON object of {client_id, client_secret}, each value named once") from None
    if not clients or not all(value and each.client_id and each.client_secret for value, each in clients.items()):
        raise ValueError("must have clients, without empty names, ids and secrets")
    return clients


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate name")
    return members


def digest(secret: str) -> str:
    """Return what is stored of a random value instead of itself."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_safe_url(url: str) -> bool:
    """Whether secrets may be sent there: by https, or to this machine."""
    is_clean = url.isascii() and url.isprintable() and not {" ", "#"} & set(url)
    try:
        scheme, host = urlsplit(url).scheme, _host(url)
    except ValueError:
        return False
    return is_clean and bool(host) and (scheme == "https" or (scheme == "http" and is_loopback(host)))


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def check_metadata(metadata: Metadata, issuer: str) -> None:
    """Raise `InvalidMetadataError` unless the document is the issuer's own, and of one that the portal can use."""
    if metadata.issuer != issuer:
        raise InvalidMetadataError("the document names another issuer")
    endpoints = (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri)
    optional = (metadata.end_session_endpoint,) if metadata.end_session_endpoint else ()
    if not all(_is_endpoint(url, issuer) for url in (*endpoints, *optional)):
        raise InvalidMetadataError("an endpoint is not https, or leads to this machine")
    if "S256" not in metadata.code_challenge_methods_supported:
        raise InvalidMetadataError("PKCE with S256 is not supported")


def _is_endpoint(url: str, issuer: str) -> bool:
    """Whether a document of the issuer may lead there: to services of this machine, only an issuer on it may."""
    return is_safe_url(url) and (is_loopback(_host(issuer)) or not may_be_loopback(_host(url)))


def authorization_url(
    metadata: Metadata, pending: PendingSignIn, *, state: str, client_id: str, scopes: str, redirect_uri: str
) -> str:
    """Return where the browser is sent to sign in."""
    challenge = base64.urlsafe_b64encode(hashlib.sha256(pending.verifier.encode()).digest()).rstrip(b"=").decode()
    parameters = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": scopes,
        "state": state,
        "nonce": pending.nonce,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
    }
    return _with_query(metadata.authorization_endpoint, parameters)


def end_session_url(metadata: Metadata, *, client_id: str, id_token: str, return_to: str) -> str | None:
    """Return where the browser is sent to sign out at the issuer; None if it has no such endpoint."""
    if metadata.end_session_endpoint is None:
        return None
    parameters = {"client_id": client_id, "post_logout_redirect_uri": return_to}
    if len(id_token) <= MAX_HINT_CHARACTERS:
        # A longer one could make an address that servers refuse.
        parameters["id_token_hint"] = id_token
    return _with_query(metadata.end_session_endpoint, parameters)


def _with_query(url: str, parameters: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def check_claims(claims: Mapping[str, Any], *, issuer: str, client_id: str, nonce: str, now_s: float) -> str:
    """Return the subject of an ID token whose signature holds; raises `InvalidIdTokenError`."""
    if claims.get("iss") != issuer:
        raise InvalidIdTokenError("another issuer")
    # The portal trusts no other audience (OpenID Connect Core, 3.1.3.7).
    if claims.get("aud") not in (client_id, [client_id]):
        raise InvalidIdTokenError("another audience")
    if claims.get("azp", client_id) != client_id:
        raise InvalidIdTokenError("another authorized party")
    if claims.get("nonce") != nonce:
        raise InvalidIdTokenError("another nonce")
    _check_times(claims, now_s)
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARACTERS:
        raise InvalidIdTokenError("no subject")
    # Core, 2: ASCII. A lone surrogate could not be encoded.
    if not subject.isascii():
        raise InvalidIdTokenError("a subject that is not ASCII")
    return subject


def _check_times(claims: Mapping[str, Any], now_s: float) -> None:
    expires, issued, not_before = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not (_is_time(expires) and _is_time(issued) and _is_time(not_before)):
        raise InvalidIdTokenError("no valid times")
    if expires + LEEWAY_S <= now_s:
        raise InvalidIdTokenError("expired")
    if max(issued, not_before) - LEEWAY_S > now_s:
        raise InvalidIdTokenError("not valid yet")
    if issued + PENDING_S + LEEWAY_S <= now_s:
        raise InvalidIdTokenError("issued too long ago")


def _is_time(value: object) -> TypeGuard[float]:
    # JSON readers accept NaN and Infinity: neither is below a bound.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MAX_TIME_S


def claim_values(claims: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield the values of a claim, which may be a list. An email address counts only if the issuer has verified it."""
    value = claims.get(name)
    if name == "email" and claims.get("email_verified") is not True:
        return
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str):
            yield each


def account_of(issuer: str, subject: str) -> str:
    """Return the pseudonym of a person in the audit log: who knows the subject can compute it, nobody else."""
    return digest(f"{issuer} {subject}")[:_ACCOUNT_DIGITS]
