"""The header that brings a token: how it is read, and what a refusal says in its own."""

import pytest

from services.chassis.runtime.errors import ForbiddenError, UnauthorizedError
from services.chassis.security.tokens import bearer_token


@pytest.mark.parametrize(
    "header", ["Bearer abc", "bearer abc", "BEARER abc", "BeArEr  abc", "Bearer\tabc ", " Bearer abc"]
)
def test_the_word_bearer_is_read_in_any_case(header: str) -> None:
    assert bearer_token(header) == "abc"


@pytest.mark.parametrize("header", [None, "", "Basic YTpi", "Digest x", "abc"])
def test_without_a_bearer_token_no_error_is_named(header: str | None) -> None:
    with pytest.raises(UnauthorizedError) as refusal:
        bearer_token(header)
    assert refusal.value.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("quote", ["\u2019", "\u2018", "\u201d", "'", '"', "\u00b4", "\udc92"])
def test_a_quote_after_the_token_is_answered_with_a_hint(quote: str) -> None:
    with pytest.raises(UnauthorizedError, match="quotation mark") as refusal:
        bearer_token(f"Bearer M6w0M0K9QbQGHC8{quote}")
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert "M6w0" not in refusal.value.detail


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer é", "Bearerab", "Bearer \x00"]
)
def test_what_cannot_be_a_token_is_refused(header: str) -> None:
    with pytest.raises(UnauthorizedError) as refusal:
        bearer_token(header)
    assert refusal.value.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_scope_too_small_is_named_as_such() -> None:
    assert ForbiddenError("no").headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
