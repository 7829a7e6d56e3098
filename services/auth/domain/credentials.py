"""Parses requests to the OAuth endpoints: credentials in the form, in HTTP Basic or in the query string."""

import base64
import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from services.auth.domain.oauth_error import UNSUPPORTED_GRANT_TYPE, OAuthError, invalid_client, invalid_request

FORM = "application/x-www-form-urlencoded"
MAX_PARAMETERS = 50
MAX_CREDENTIAL_LENGTH = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenEndpointRequest:
    """The unparsed parts of a request. Its representation shows no secret."""

    query: str = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str = ""
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRequest:
    """A parsed token request; its secret is not verified yet."""

    client_id: str
    secret: str = field(repr=False)
    scopes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenQuery:
    """A parsed revocation or introspection request (RFC 7009, RFC 7662); its secret is not verified yet."""

    client_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class _MalformedRequestError(ValueError):
    """The request is malformed; the text says how, and quotes nothing of it."""


def has_secret_in_query(request: TokenEndpointRequest) -> bool:
    """Whether the query string carries a secret, even if the request is malformed."""
    try:
        return any(name == "client_secret" and value for name, value in _decode_pairs(request.query))
    except _MalformedRequestError:
        return "client_secret" in request.query


def parse_token_request(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> TokenRequest | OAuthError:
    """Parse a token request.

    A parameter may be given in several places if the values agree; one without a value counts as absent.
    """
    parameters = _parse_parameters(request, allow_query_secrets=allow_query_secrets)
    if isinstance(parameters, OAuthError):
        return parameters
    if "grant_type" not in parameters:
        return invalid_request("The parameter grant_type is missing.")
    if parameters["grant_type"] != "client_credentials":
        return UNSUPPORTED_GRANT_TYPE
    error = _check_credentials(parameters)
    if error is not None:
        return error
    scope = parameters.get("scope")
    return TokenRequest(
        client_id=parameters["client_id"],
        secret=parameters["client_secret"],
        scopes=None if scope is None else tuple(dict.fromkeys(scope.split(" "))),
    )


def parse_token_query(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> TokenQuery | OAuthError:
    """Parse a revocation or introspection request. The token must be in the body."""
    parameters = _parse_parameters(request, allow_query_secrets=allow_query_secrets)
    if isinstance(parameters, OAuthError):
        return parameters
    if any(name == "token" for name, _ in _decode_pairs(request.query)):
        return invalid_request("Send the token in the body, not in the URL.")
    if "token" not in parameters:
        return invalid_request("The parameter token is missing.")
    error = _check_credentials(parameters)
    if error is not None:
        return error
    return TokenQuery(client_id=parameters["client_id"], secret=parameters["client_secret"], token=parameters["token"])


def _parse_parameters(request: TokenEndpointRequest, *, allow_query_secrets: bool) -> dict[str, str] | OAuthError:
    """All parameters that have a value, from the query string, the form and the Authorization header."""
    try:
        query = _require_unique(_decode_pairs(request.query))
        parameters = _merge([query, _require_unique(_parse_form(request)), _parse_basic(request.authorization)])
    except _MalformedRequestError as error:
        return invalid_request(str(error))
    except binascii.Error:
        return invalid_client(reason="malformed_basic")
    if "client_secret" in query and not allow_query_secrets:
        return invalid_request("Send the secret in the body or with Basic, not in the URL.", reason="secret_in_query")
    return parameters


def _check_credentials(parameters: dict[str, str]) -> OAuthError | None:
    client_id, secret = parameters.get("client_id", ""), parameters.get("client_secret", "")
    if not client_id or not secret:
        return invalid_client(reason="no_credentials")
    if len(client_id) > MAX_CREDENTIAL_LENGTH or len(secret) > MAX_CREDENTIAL_LENGTH:
        return invalid_client(reason="oversized_credentials")
    return None


def _merge(sources: Sequence[dict[str, str]]) -> dict[str, str]:
    merged: dict[str, str] = {}
    for name, value in (pair for source in sources for pair in source.items()):
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
    """Credentials of HTTP Basic, both parts form-encoded (RFC 6749, 2.3.1); other schemes are ignored."""
    scheme, _, encoded = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode("utf-8").partition(":")
        parts = unquote_plus(client_id, errors="strict"), unquote_plus(secret, errors="strict")
    except ValueError:
        raise binascii.Error from None
    if not colon:
        raise binascii.Error
    return {name: part for name, part in zip(("client_id", "client_secret"), parts, strict=True) if part}
