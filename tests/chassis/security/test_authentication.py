"""A request is authenticated by its token, and by an API key that belongs to the token and to its site."""

from math import inf
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from services.chassis.runtime.errors import ForbiddenError, UnauthorizedError, UnavailableError
from services.chassis.security.authentication import RequestAuthenticator, require_scope
from services.chassis.security.sites import Sites
from tests.chassis.security.test_sites import SCHEMAS, record
from tests.chassis.security.token_fixtures import VerifierHarness, a_token, harness

__all__ = ["harness"]


@pytest.fixture
def authenticator(harness: VerifierHarness) -> RequestAuthenticator:
    sites = Sites(SCHEMAS)
    for number, api_key in ((608, "12345"), (700, "777")):
        sites.apply(*record(number, api_key))
    return RequestAuthenticator(harness.verifier, sites)


def a_request(api_key: str, *, authorization: str | None) -> Any:
    headers = {} if authorization is None else {"Authorization": authorization}
    return make_mocked_request("GET", f"/v1/{api_key}", headers=headers, match_info={"apiKey": api_key})


async def test_the_caller_is_the_token_and_the_site_of_the_key(authenticator: RequestAuthenticator) -> None:
    caller = await authenticator.caller(a_request("12345", authorization=f"Bearer {a_token()}"))
    assert (caller.token.client_id, caller.site.site, caller.api_key) == ("client-1", 608, "12345")


@pytest.mark.parametrize("authorization", [None, "Basic eDp5", "Bearer ?", "Bearer " + a_token(exp=1)])
async def test_without_a_valid_token_there_is_no_caller(
    authenticator: RequestAuthenticator, authorization: str | None
) -> None:
    with pytest.raises(UnauthorizedError):
        await authenticator.caller(a_request("12345", authorization=authorization))


async def test_only_clients_with_a_valid_token_are_recent(authenticator: RequestAuthenticator) -> None:
    """A flood of invalid tokens must not slow down those that have one (`chassis/http/page_limits.py`)."""
    recent = authenticator.recent_clients
    with pytest.raises(UnauthorizedError):
        await authenticator.caller(a_request("12345", authorization="Bearer " + a_token(exp=1)))
    assert recent.latest_of_others_s("other") == -inf
    for text in [a_token()] * 2:
        await authenticator.caller(a_request("12345", authorization=f"Bearer {text}"))
    assert recent.latest_of_others_s("client-1") == -inf
    assert recent.latest_of_others_s("other") > 0


@pytest.mark.parametrize(
    ("claims", "api_key"),
    [
        ({}, "777"),  # another site's key, which the token lacks
        ({"api_keys": ["777"]}, "777"),  # a key that has moved to another site
        ({"api_keys": ["999"]}, "999"),  # a key that no site has
        ({"site": 700}, "12345"),  # a site that does not have the key
    ],
)
async def test_the_key_must_belong_to_the_token_and_to_its_site(
    authenticator: RequestAuthenticator, claims: dict[str, Any], api_key: str
) -> None:
    with pytest.raises(ForbiddenError, match="not for this apiKey"):
        await authenticator.caller(a_request(api_key, authorization=f"Bearer {a_token(**claims)}"))


async def test_a_scope_that_the_token_lacks_is_named(harness: VerifierHarness) -> None:
    token = await harness.verifier.verify(a_token())
    require_scope(token, "orders:write")
    with pytest.raises(ForbiddenError, match="lacks the scope status:read"):
        require_scope(token, "status:read")


async def test_no_token_is_accepted_while_it_may_have_been_revoked(
    harness: VerifierHarness, authenticator: RequestAuthenticator
) -> None:
    """Neither a new one nor one that was verified before. Without a token the answer stays a 401."""
    stale = False
    strict = RequestAuthenticator(harness.verifier, Sites(SCHEMAS), must_refuse=lambda: stale)
    known, new = (a_request("12345", authorization=f"Bearer {a_token(jti=token_id)}") for token_id in ("a", "b"))
    assert (await strict.token(known)).token_id == "a"
    stale = True
    for request in (known, new):
        with pytest.raises(UnavailableError):
            await strict.token(request)
        assert await authenticator.token(request), "the default"
    with pytest.raises(UnauthorizedError):
        await strict.token(a_request("12345", authorization=None))
    stale = False
    assert (await strict.token(new)).token_id == "b"
