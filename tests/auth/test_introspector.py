"""The introspector follows changes of auth's keys: it caches no token longer."""

import pytest

from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.domain.audience import ADMIN, OMNICHANNEL
from services.auth.domain.signing import SigningKey
from services.chassis.runtime.errors import UnauthorizedError
from tests.auth.fakes import Clock
from tests.auth.harness import ENCRYPTION_KEY, ISSUER, AuthHarness


@pytest.fixture(scope="session")
async def next_key() -> SigningKey:
    """A second real key pair, which signs as soon as it is used."""
    return await KeyWrapper(ENCRYPTION_KEY, "RS256").generate(number=2, created_at=0, signs_from=int(Clock().at))


def a_token(auth: AuthHarness, *, audience: str = OMNICHANNEL.name, scope: str = "orders:write") -> str:
    now = int(auth.clock())
    claims = {"iss": ISSUER, "aud": audience, "sub": "client-1", "client_id": "client-1", "site": 0, "api_keys": []}
    return auth.signer.sign({**claims, "scope": scope, "iat": now, "exp": now + 600, "jti": "one"})


async def test_a_token_of_a_new_key_is_known_at_once_even_after_other_queries(
    auth: AuthHarness, next_key: SigningKey
) -> None:
    """Otherwise a revocation within the first half minute would be confirmed without effect."""
    first = a_token(auth)
    strange = first.replace(first.partition(".")[0], "eyJhbGciOiJSUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ")
    assert await auth.introspector.introspect(first) is not None
    assert await auth.introspector.introspect(strange) is None
    auth.signer.set_keys([*await auth.key_rotation.keys.all(), next_key])
    second = a_token(auth)
    assert second.partition(".")[0] != first.partition(".")[0], "it is signed with the new key"
    assert await auth.introspector.introspect(second) is not None
    assert await auth.introspector.introspect(first) is not None


async def test_a_token_of_a_key_that_was_taken_away_is_believed_no_more(
    auth: AuthHarness, next_key: SigningKey
) -> None:
    """As when a key leaked and its document was deleted."""
    first, admins = a_token(auth), a_token(auth, audience=ADMIN.name, scope="admin")
    assert await auth.introspector.introspect(first) is not None
    assert (await auth.introspector.verify_admin(admins)).client_id == "client-1"
    auth.signer.set_keys([next_key])
    assert await auth.introspector.introspect(first) is None
    with pytest.raises(UnauthorizedError):
        await auth.introspector.verify_admin(admins)
