import base64
from collections.abc import Mapping
from urllib.parse import urlencode

import pytest

from services.auth.domain.credentials import (
    FORM,
    TokenEndpointRequest,
    TokenQuery,
    TokenRequest,
    has_secret_in_query,
    parse_token_query,
    parse_token_request,
)
from services.auth.domain.oauth_error import OAuthError

GOOD = {"grant_type": "client_credentials", "client_id": "client", "client_secret": "canary-secret"}


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def a_request(
    query: Mapping[str, str] | str = "",
    body: Mapping[str, str] | bytes = b"",
    *,
    authorization: str | None = None,
    content_type: str = FORM,
) -> TokenEndpointRequest:
    return TokenEndpointRequest(
        query=query if isinstance(query, str) else urlencode(query),
        body=body if isinstance(body, bytes) else urlencode(body).encode(),
        content_type=content_type,
        authorization=authorization,
    )


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in GOOD.items() if name not in names}


GRANT = {"grant_type": "client_credentials"}
VALID: dict[str, tuple[TokenEndpointRequest, TokenRequest]] = {
    "in the query, as printed": (
        a_request(GOOD),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "in the form": (a_request(body=GOOD), TokenRequest(client_id="client", secret="canary-secret")),
    "in the form with a charset": (
        a_request(body=GOOD, content_type="Application/X-WWW-Form-URLencoded; charset=utf-8"),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "by Basic": (
        a_request(body=GRANT, authorization=basic("client", "canary-secret")),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "by basic in lower case, the grant in the query": (
        a_request(GRANT, authorization=basic("client", "canary-secret").replace("Basic", "basic")),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "by Basic, form-encoded": (
        a_request(body=GRANT, authorization=basic("cl%3Aient", "a%2Bb+c")),
        TokenRequest(client_id="cl:ient", secret="a+b c"),
    ),
    "split over the places": (
        a_request({"client_id": "client"}, without("client_id")),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "the same in all places": (
        a_request(GOOD, GOOD, authorization=basic("client", "canary-secret")),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "empty in one place": (
        a_request({"client_secret": ""}, GOOD),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "with an old bearer token beside it": (
        a_request(body=GOOD, authorization="Bearer abc"),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "with scopes": (
        a_request(body={**GOOD, "scope": "orders:write orders:write a"}),
        TokenRequest(client_id="client", secret="canary-secret", scopes=("orders:write", "a")),
    ),
    "with an empty scope": (
        a_request(body={**GOOD, "scope": ""}),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
    "with unknown parameters": (
        a_request(body={**GOOD, "resource": "x"}),
        TokenRequest(client_id="client", secret="canary-secret"),
    ),
}
REFUSED: dict[str, tuple[TokenEndpointRequest, str, int]] = {
    "nothing": (a_request(), "invalid_request", 400),
    "no grant type": (a_request(body=without("grant_type")), "invalid_request", 400),
    "empty grant type": (a_request(body={**GOOD, "grant_type": ""}), "invalid_request", 400),
    "other grant type": (a_request(body={**GOOD, "grant_type": "password"}), "unsupported_grant_type", 400),
    "no id": (a_request(body=without("client_id")), "invalid_client", 401),
    "no secret": (a_request(body=without("client_secret")), "invalid_client", 401),
    "a bearer token only": (a_request(GRANT, authorization="Bearer abc"), "invalid_client", 401),
    "an endless id": (a_request(body={**GOOD, "client_id": "c" * 257}), "invalid_client", 401),
    "an endless secret": (a_request(body={**GOOD, "client_secret": "s" * 257}), "invalid_client", 401),
    "two secrets in two places": (a_request({"client_secret": "other"}, GOOD), "invalid_request", 400),
    "two ids in two places": (a_request({"client_id": "other"}, GOOD), "invalid_request", 400),
    "two grants in two places": (a_request({"grant_type": "password"}, GOOD), "invalid_request", 400),
    "two scopes in two places": (a_request({"scope": "a"}, {**GOOD, "scope": "b"}), "invalid_request", 400),
    "Basic and form differ": (
        a_request(body=GOOD, authorization=basic("client", "other")),
        "invalid_request",
        400,
    ),
    "a parameter twice in one place": (
        a_request(body=urlencode(GOOD).encode() + b"&client_id=client"),
        "invalid_request",
        400,
    ),
    "a JSON body": (a_request(body=b'{"grant_type": 1}', content_type="application/json"), "invalid_request", 400),
    "a body without a type": (a_request(body=GOOD, content_type=""), "invalid_request", 400),
    "a body that is no text": (a_request(body=b"\xff\xfe"), "invalid_request", 400),
    "escapes that are no text": (a_request(body=b"client_id=%ff"), "invalid_request", 400),
    "escapes in the query that are no text": (a_request("client_secret=%ff"), "invalid_request", 400),
    "too many parameters": (a_request(body=b"a=b&" * 60), "invalid_request", 400),
    "Basic that is no Base64": (a_request(body=GRANT, authorization="Basic !!!"), "invalid_client", 401),
    "Basic without a colon": (a_request(body=GRANT, authorization="Basic YWJj"), "invalid_client", 401),
    "Basic that is no text": (a_request(body=GRANT, authorization="Basic //79Ovw="), "invalid_client", 401),
}


@pytest.mark.parametrize(("received", "parsed"), VALID.values(), ids=VALID.keys())
def test_credentials_are_read_wherever_they_are_put(received: TokenEndpointRequest, parsed: TokenRequest) -> None:
    assert parse_token_request(received, allow_query_secrets=True) == parsed


@pytest.mark.parametrize(("received", "error", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_answered_is_named_as_the_standard_names_it(
    received: TokenEndpointRequest, error: str, status: int
) -> None:
    refusal = parse_token_request(received, allow_query_secrets=True)
    assert isinstance(refusal, OAuthError)
    assert (refusal.error, refusal.status) == (error, status)
    assert "canary" not in str(refusal)


@pytest.mark.parametrize(
    ("received", "error"),
    [
        (a_request(body=without("grant_type")), "invalid_request"),
        (a_request({"token": "t"}, without("grant_type")), "invalid_request"),
        (a_request(body={"token": "t"}), "invalid_client"),
        (a_request(body={**GOOD, "token": "t", "client_id": ""}), "invalid_client"),
        (a_request(body=b"%ff"), "invalid_request"),
    ],
    ids=["no token", "token in the URL", "no credentials", "no id", "unreadable"],
)
def test_a_request_about_a_token_needs_the_token_and_credentials(received: TokenEndpointRequest, error: str) -> None:
    refusal = parse_token_query(received, allow_query_secrets=True)
    assert isinstance(refusal, OAuthError)
    assert refusal.error == error


def test_a_request_about_a_token_shows_neither_token_nor_secret() -> None:
    about = parse_token_query(a_request(body={**GOOD, "token": "canary-token"}), allow_query_secrets=True)
    assert about == TokenQuery(client_id="client", secret="canary-secret", token="canary-token")
    assert "canary" not in repr(about)


def test_secrets_in_the_query_can_be_forbidden() -> None:
    refusal = parse_token_request(a_request(GOOD), allow_query_secrets=False)
    assert isinstance(refusal, OAuthError)
    assert refusal.error == "invalid_request"
    assert parse_token_request(
        a_request(without("client_secret"), {"client_secret": "s"}), allow_query_secrets=False
    ) == TokenRequest(client_id="client", secret="s")


@pytest.mark.parametrize(
    ("query", "found"),
    [("client_secret=x", True), ("client_secret=", False), ("client_secret=%ff", True), ("client_id=x", False)],
)
def test_a_secret_in_the_query_is_noticed_even_in_a_bad_request(query: str, *, found: bool) -> None:
    assert has_secret_in_query(a_request(query)) is found


def test_no_representation_shows_a_secret() -> None:
    received = a_request(GOOD, GOOD, authorization=basic("client", "canary-secret"))
    assert "canary" not in repr(received)
    assert "canary" not in repr(parse_token_request(received, allow_query_secrets=True))
