"""What a client sent to a token endpoint, wherever it put it: form, Basic or query string."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from services.auth.domain.oauth_error import UNSUPPORTED_GRANT_TYPE, Refusal, invalid_client, invalid_request

FORM = "application/x-www-form-urlencoded"
MOST_PARAMETERS = 50
LONGEST_CREDENTIAL = 256

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    """A token request as it came. Holds secrets: its representation shows none of it."""

    query: str = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str = ""
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A token request that can be answered once the secret has been checked."""

    client_id: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AboutToken:
    """A request about a token (RFC 7009, RFC 7662) that can be answered once the secret has been checked."""

    client_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class _Unreadable(ValueError):  # noqa: N818 - says what the request is
    """The request is at fault; the text says how, and repeats nothing of it."""


def secret_in_query(presented: Presented) -> bool:
    """Whether the query string carries a secret, be the rest as it may."""
    try:
        return any(name == "client_secret" and value for name, value in _pairs(presented.query))
    except _Unreadable:
        return "client_secret" in presented.query


def read(presented: Presented, *, allow_query_secrets: bool) -> TokenRequest | Refusal:
    """The token request, or why it cannot be one.

    A parameter may stand in two places if both say the same; without a value it counts as absent.
    """
    values = _values(presented, allow_query_secrets=allow_query_secrets)
    if isinstance(values, Refusal):
        return values
    if "grant_type" not in values:
        return invalid_request("The parameter grant_type is missing.")
    if values["grant_type"] != "client_credentials":
        return UNSUPPORTED_GRANT_TYPE
    fault = _credentials_fault(values)
    if fault is not None:
        return fault
    scope = values.get("scope")
    return TokenRequest(
        client_id=values["client_id"],
        secret=values["client_secret"],
        scopes=None if scope is None else tuple(dict.fromkeys(scope.split(" "))),
    )


def read_about(presented: Presented, *, allow_query_secrets: bool) -> AboutToken | Refusal:
    """The request about a token, or why it cannot be one. The token itself must stand in the body."""
    values = _values(presented, allow_query_secrets=allow_query_secrets)
    if isinstance(values, Refusal):
        return values
    if any(name == "token" for name, _ in _pairs(presented.query)):
        return invalid_request("Send the token in the body, not in the URL.")
    if "token" not in values:
        return invalid_request("The parameter token is missing.")
    fault = _credentials_fault(values)
    if fault is not None:
        return fault
    return AboutToken(client_id=values["client_id"], secret=values["client_secret"], token=values["token"])


def _values(presented: Presented, *, allow_query_secrets: bool) -> dict[str, str] | Refusal:
    """All parameters that have a value, wherever they stand."""
    try:
        query = _once(_pairs(presented.query))
        values = _merged([query, _once(_form(presented)), _basic(presented.authorization)])
    except _Unreadable as fault:
        return invalid_request(str(fault))
    except binascii.Error:
        return invalid_client(reason="malformed_basic")
    if "client_secret" in query and not allow_query_secrets:
        return invalid_request("Send the secret in the body or with Basic, not in the URL.", reason="secret_in_query")
    return values


def _credentials_fault(values: dict[str, str]) -> Refusal | None:
    client_id, secret = values.get("client_id", ""), values.get("client_secret", "")
    if not client_id or not secret:
        return invalid_client(reason="no_credentials")
    if len(client_id) > LONGEST_CREDENTIAL or len(secret) > LONGEST_CREDENTIAL:
        return invalid_client(reason="oversized_credentials")
    return None


def _merged(places: list[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in (pair for place in places for pair in place.items()):
        if merged.setdefault(name, value) != value:
            raise _Unreadable("A parameter is given in two places with different values.")
    return merged


def _once(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise _Unreadable("A parameter is given more than once.")
        values[name] = value
    return {name: value for name, value in values.items() if value}


def _form(presented: Presented) -> Iterator[tuple[str, str]]:
    if not presented.body:
        return iter(())
    media_type = presented.content_type.partition(";")[0].strip().lower()
    if media_type != FORM:
        raise _Unreadable(f"The body must be {FORM}.")
    try:
        return _pairs(presented.body.decode("ascii"))
    except UnicodeDecodeError:
        raise _Unreadable("The body is not form-encoded.") from None


def _pairs(encoded: str) -> Iterator[tuple[str, str]]:
    try:
        return iter(parse_qsl(encoded, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS))
    except ValueError:
        raise _Unreadable("The parameters are not form-encoded.") from None


def _basic(header: str | None) -> dict[str, str]:
    """Credentials of HTTP Basic, each half form-encoded as RFC 6749, 2.3.1 wants it; other schemes are passed over."""
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        halves = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise binascii.Error from None
    if not colon:
        raise binascii.Error
    return {name: half for name, half in zip(("client_id", "client_secret"), halves, strict=True) if half}
