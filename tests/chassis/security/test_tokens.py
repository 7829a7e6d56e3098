"""A token says who may do what, until it expires or is revoked, and costs next to nothing once it was read."""

import timeit
from typing import Any

import pytest

from services.chassis.runtime.errors import UnauthorizedError, UnavailableError
from services.chassis.security.tokens import REFUSED, Token
from tests.chassis.security.token_fixtures import NOW, OTHER_KEY, VerifierHarness, a_token, harness

__all__ = ["harness"]


async def test_a_good_token_says_who_may_do_what(harness: VerifierHarness) -> None:
    assert await harness.verifier.verify(a_token()) == Token(
        client_id="client-1",
        site=608,
        api_keys=frozenset({"12345"}),
        scopes=frozenset({"orders:write", "returns:write"}),
        issued_at=NOW,
        expires_at=NOW + 28_800,
        token_id="token-1",
    )


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
async def test_the_type_is_compared_as_media_types_are(harness: VerifierHarness, typ: str) -> None:
    assert (await harness.verifier.verify(a_token(header={"typ": typ}))).client_id == "client-1"


@pytest.mark.parametrize(
    "claims",
    [{"iat": NOW + 60, "exp": NOW + 100}, {"iat": NOW - 28_859, "exp": NOW - 59}, {"nbf": NOW + 60}],
    ids=["issued ahead", "just expired", "nbf ahead"],
)
async def test_clocks_may_differ_by_a_minute(harness: VerifierHarness, claims: dict[str, Any]) -> None:
    assert (await harness.verifier.verify(a_token(**claims))).client_id == "client-1"


async def test_a_verified_token_is_remembered_until_it_expires(harness: VerifierHarness) -> None:
    token = a_token()
    assert harness.verifier.cached(token) is None
    read = await harness.verifier.verify(token)
    assert harness.verifier.cached(token) is read
    harness.clock.at = NOW + 28_799
    assert harness.verifier.cached(token) is read
    harness.clock.at = NOW + 28_800
    assert harness.verifier.cached(token) is None
    harness.clock.at = NOW + 28_860
    with pytest.raises(UnauthorizedError, match="expired"):
        await harness.verifier.verify(token)


async def test_what_is_remembered_is_bounded(harness: VerifierHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.security.tokens.MAX_CACHED_TOKENS", 2)
    tokens = [a_token(jti=f"token-{number}") for number in range(3)]
    for token in tokens:
        await harness.verifier.verify(token)
    assert [harness.verifier.cached(token) is not None for token in tokens] == [False, True, True]


async def test_a_revoked_token_is_refused_even_if_remembered(harness: VerifierHarness) -> None:
    token = a_token()
    await harness.verifier.verify(token)
    harness.revoked.add("token-1")
    assert harness.verifier.cached(token) is None
    with pytest.raises(UnauthorizedError, match="revoked"):
        await harness.verifier.verify(token)


async def test_before_revocations_are_known_the_answer_is_unknown_not_yes(harness: VerifierHarness) -> None:
    harness.revoked.add("token-1")
    harness.revocations_loaded[0] = False
    with pytest.raises(UnavailableError):
        await harness.verifier.verify(a_token())
    harness.revocations_loaded[0] = True
    with pytest.raises(UnauthorizedError, match="revoked"):
        await harness.verifier.verify(a_token())


async def test_a_remembered_token_costs_next_to_nothing(harness: VerifierHarness) -> None:
    """The budget is 2 µs; asserted with room for a busy machine."""
    token = a_token()
    await harness.verifier.verify(token)
    best = min(timeit.repeat(lambda: harness.verifier.cached(token), number=2_000, repeat=5)) / 2_000
    assert best < 10e-6, f"{best * 1e6:.2f} µs"


async def test_refusals_are_counted_by_their_reasons(harness: VerifierHarness) -> None:
    def counted() -> list[float]:
        return [REFUSED.labels(reason)._value.get() for reason in ("expired", "audience", "revoked", "signature")]

    before = counted()
    harness.revoked.add("revoked")
    bad = [a_token(exp=NOW - 60, iat=NOW - 61), a_token(aud="x"), a_token(jti="revoked"), a_token(key=OTHER_KEY)]
    for token in [*bad, bad[0]]:
        with pytest.raises(UnauthorizedError):
            await harness.verifier.verify(token)
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [2, 1, 1, 1]
