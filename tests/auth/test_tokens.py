"""Issuing tokens: credentials, scopes, failed attempts and audit lines."""

import json
from typing import Any

import pytest

from services.auth.domain.audience import AUDIENCES, COMMON_STATUS, OMNICHANNEL, Audience
from services.auth.domain.client import Secret
from services.auth.domain.credentials import FORM, TokenEndpointRequest
from services.auth.domain.oauth_error import OAuthError
from services.auth.domain.revocation import client_revocation
from services.auth.flows.tokens import issue
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.jwks import Jwks
from services.chassis.security.tokens import Token, TokenVerifier
from tests.auth.fakes import FakeClientStore
from tests.auth.harness import ISSUER, SECRET, AuthHarness, a_client


async def request_token(
    auth: AuthHarness,
    *,
    secret: str = SECRET,
    client_id: str = "client-1",
    source: str = "203.0.113.9",
    audience: Audience = OMNICHANNEL,
    more: str = "",
) -> dict[str, Any] | OAuthError:
    body = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}{more}"
    presented = TokenEndpointRequest(query="", body=body.encode(), content_type=FORM)
    return await issue(presented, audience, source=source, deps=auth.deps)


async def get_refusal(auth: AuthHarness, **how: str) -> tuple[str, int]:
    outcome = await request_token(auth, **how)  # type: ignore[arg-type] # only texts are passed
    assert isinstance(outcome, OAuthError)
    return outcome.reason, outcome.status


def a_verifier(auth: AuthHarness, audience: Audience) -> TokenVerifier:
    async def fetch() -> bytes:
        return json.dumps(auth.signer.key_set()).encode()

    keys = Jwks("", "RS256", monotonic=auth.clock, fetch=fetch)
    return TokenVerifier(keys, issuer=ISSUER, audience=audience.name, is_revoked=lambda _token: False, now=auth.clock)


@pytest.mark.parametrize("audience", AUDIENCES, ids=lambda audience: audience.name)
async def test_what_is_issued_verifies_for_its_api_and_no_other(auth: AuthHarness, audience: Audience) -> None:
    issued = await request_token(auth, audience=audience)
    assert isinstance(issued, dict)
    verifiers = {each.name: a_verifier(auth, each) for each in AUDIENCES}
    for verifier in verifiers.values():
        await verifier.keys.refresh()
    assert await verifiers[audience.name].verify(issued["access_token"]) == Token(
        client_id="client-1",
        site=608,
        api_keys=frozenset({"12345"}),
        scopes=frozenset(audience.scopes),
        issued_at=auth.clock.at,
        expires_at=auth.clock.at + 28_800,
        token_id="id-1",
    )
    for name, verifier in verifiers.items():
        if name != audience.name:
            with pytest.raises(Exception, match="another API"):
                await verifier.verify(issued["access_token"])


async def test_a_token_from_after_a_revocation_of_its_client_is_good(auth: AuthHarness) -> None:
    """Also within the same second: `iat` has whole seconds."""
    auth.clock.at += 0.5
    revocation = client_revocation("client-1", now=auth.clock.at)
    await auth.publisher.publish_revocations([revocation])
    issued = await request_token(auth)
    assert isinstance(issued, dict)
    verifier = a_verifier(auth, OMNICHANNEL)
    await verifier.keys.refresh()
    assert (await verifier.verify(issued["access_token"])).issued_at > (revocation.issued_before or 0)


async def test_fewer_scopes_are_returned(auth: AuthHarness) -> None:
    issued = await request_token(auth, more="&scope=orders:write")
    assert isinstance(issued, dict)
    assert issued["scope"] == "orders:write"


async def test_a_client_of_another_api_is_told_so(auth: AuthHarness) -> None:
    await auth.clients.save(a_client(client_id="status-only", scopes=COMMON_STATUS.scopes))
    assert await get_refusal(auth, client_id="status-only") == ("unauthorized_client", 400)


async def test_an_unknown_client_costs_what_a_known_one_does(auth: AuthHarness) -> None:
    assert await get_refusal(auth, secret="wrong") == ("wrong_secret", 401)
    assert await get_refusal(auth, client_id="nobody") == ("unknown_client", 401)
    assert auth.hasher.low_priority_calls == [False, False]


async def test_a_secret_that_ended_proves_nothing(auth: AuthHarness) -> None:
    ended = Secret(secret_id="s", hash="hash of old", created_at=0, expires_at=int(auth.clock.at))
    await auth.clients.save(a_client(client_id="other", secrets=(ended,)))
    assert await get_refusal(auth, client_id="other", secret="old") == ("wrong_secret", 401)
    auth.clock.at -= 1
    assert isinstance(await request_token(auth, client_id="other", secret="old"), dict)


async def test_after_ten_failed_tries_a_minute_guessing_waits_but_the_right_secret_passes(auth: AuthHarness) -> None:
    assert {await get_refusal(auth, secret="wrong") for _ in range(10)} == {("wrong_secret", 401)}
    assert await get_refusal(auth, secret="wrong") == ("too_many_attempts", 429)
    assert isinstance(await request_token(auth), dict)
    assert auth.hasher.low_priority_calls[-2:] == [True, True], "guesses have a queue of their own"
    assert await get_refusal(auth, secret="wrong", source="198.51.100.1") == ("wrong_secret", 401)
    assert await get_refusal(auth, client_id="nobody") == ("unknown_client", 401)
    auth.clock.at += 61
    assert await get_refusal(auth, secret="wrong") == ("wrong_secret", 401)


async def test_a_client_that_never_was_is_slowed_down_too(auth: AuthHarness) -> None:
    assert {await get_refusal(auth, client_id="nobody") for _ in range(10)} == {("unknown_client", 401)}
    assert await get_refusal(auth, client_id="nobody") == ("too_many_attempts", 429)


async def test_when_the_store_is_unavailable_no_secret_is_called_wrong(auth: AuthHarness) -> None:
    assert isinstance(auth.clients, FakeClientStore)
    auth.clients.is_unavailable = True
    with pytest.raises(UnavailableError):
        await request_token(auth)


async def test_each_grant_and_refusal_leaves_a_line_without_secrets(auth: AuthHarness) -> None:
    """A known client is named even if its secret was wrong; an unknown id may be a pasted secret."""
    auth.audit.lines.clear()
    await request_token(auth)
    await request_token(auth, secret="canary-wrong")
    await request_token(auth, client_id="canary-pasted-into-the-wrong-field")
    await request_token(auth, more="&scope=canary")
    await request_token(auth, more="&grant_type=canary")
    assert [(line["action"], line["actor"], line["source"], line.get("reason")) for line in auth.audit.lines] == [
        ("token issued", "client-1", "203.0.113.9", None),
        ("token refused", "client-1", "203.0.113.9", "wrong_secret"),
        ("token refused", "unknown client", "203.0.113.9", "unknown_client"),
        ("token refused", "client-1", "203.0.113.9", "invalid_scope"),
        ("token refused", "unknown client", "203.0.113.9", "invalid_request"),
    ]
    assert "canary" not in str(auth.audit.lines)
