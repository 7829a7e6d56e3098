"""What a client sent to a token endpoint, wherever it put it: form, Basic or query string."""

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from services.auth.domain.oauth_error import UNSUPPORTED_GRANT_TYPE, OAuthError, invalid_client, invalid_request

FORM = "application/x-www-form-urlencoded"
MAX_PARAMETERS = 50
MAX_CREDENTIAL_LENGTH = 256

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpointRequest:
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
class TokenQuery:
    """A request about a token (RFC 7009, RFC 7662) that can be answered once the secret has been checked."""

    client_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class _MalformedRequestError(ValueError):
    """The request is at fault; the text says how, and repeats nothing of it."""


def has_secret_in_query(request: TokenEndpointRequest) -> bool:
    """Whether the query string carries a secret, be the rest as it may."""
    try:
        return any(name == "client_secret" and value for name, value in _decode_pairs(request.query))
    except _MalformedRequestError:
        return "client_secret" in request.query


def parse_token_request(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> TokenRequest | OAuthError:
    """The token request, or why it cannot be one.

    A parameter may stand in two places if both say the same; without a value it counts as absent.
    """
    values = _parse_parameters(request, allow_query_secrets=allow_query_secrets)
    if isinstance(values, OAuthError):
        return values
    if "grant_type" not in values:
        return invalid_request("The parameter grant_type is missing.")
    if values["grant_type"] != "client_credentials":
        return UNSUPPORTED_GRANT_TYPE
    fault = _check_credentials(values)
    if fault is not None:
        return fault
    scope = values.get("scope")
    return TokenRequest(
        client_id=values["client_id"],
        secret=values["client_secret"],
        scopes=None if scope is None else tuple(dict.fromkeys(scope.split(" "))),
    )


def parse_token_query(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> TokenQuery | OAuthError:
    """The request about a token, or why it cannot be one. The token itself must stand in the body."""
    values = _parse_parameters(request, allow_query_secrets=allow_query_secrets)
    if isinstance(values, OAuthError):
        return values
    if any(name == "token" for name, _ in _decode_pairs(request.query)):
        return invalid_request("Send the token in the body, not in the URL.")
    if "token" not in values:
        return invalid_request("The parameter token is missing.")
    fault = _check_credentials(values)
    if fault is not None:
        return fault
    return TokenQuery(client_id=values["client_id"], secret=values["client_secret"], token=values["token"])


def _parse_parameters(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> dict[str, str] | OAuthError:
    """All parameters that have a value, wherever they stand."""
    try:
        query = _require_unique(_decode_pairs(request.query))
        values = _merge([query, _require_unique(_parse_form(request)), _parse_basic(request.authorization)])
    except _MalformedRequestError as fault:
        return invalid_request(str(fault))
    except binascii.Error:
        return invalid_client(reason="malformed_basic")
    if "client_secret" in query and not allow_query_secrets:
        return invalid_request("Send the secret in the body or with Basic, not in the URL.", reason="secret_in_query")
    return values


def _check_credentials(values: dict[str, str]) -> OAuthError | None:
    client_id, secret = values.get("client_id", ""), values.get("client_secret", "")
    if not client_id or not secret:
        return invalid_client(reason="no_credentials")
    if len(client_id) > MAX_CREDENTIAL_LENGTH or len(secret) > MAX_CREDENTIAL_LENGTH:
        return invalid_client(reason="oversized_credentials")
    return None


def _merge(places: list[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in (pair for place in places for pair in place.items()):
        if merged.setdefault(name, value) != value:
            raise _MalformedRequestError("A parameter is given in two places with different values.")
    return merged


def _require_unique(pairs: Iterator[tuple[str, str]]) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values:
            raise _MalformedRequestError("A parameter is given more than once.")
        values[name] = value
    return {name: value for name, value in values.items() if value}


def _parse_form(request: TokenEndpointRequest) -> Iterator[tuple[str, str]]:
    if not request.body:
        return iter(())
    media_type = request.content_type.partition(";")[0].strip().lower()
    if media_type != FORM:
        raise _MalformedRequestError(f"The body must be {FORM}.")
    try:
        return _decode_pairs(request.body.decode("ascii"))
    except UnicodeDecodeError:
        raise _MalformedRequestError("The body is not form-encoded.") from None


def _decode_pairs(encoded: str) -> Iterator[tuple[str, str]]:
    try:
        return iter(parse_qsl(encoded, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS))
    except ValueError:
        raise _MalformedRequestError("The parameters are not form-encoded.") from None


def _parse_basic(header: str | None) -> dict[str, str]:
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
