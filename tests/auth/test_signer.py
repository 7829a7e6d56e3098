"""Signing tokens, and the key set that verifies them."""

import json

import pytest

from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.signer import JwtSigner
from services.chassis.runtime.errors import UnavailableError
from services.chassis.security.jwks import Jwks
from services.chassis.security.tokens import TokenVerifier
from tests.auth.fakes import Clock
from tests.auth.harness import ISSUER

NOW = 1_700_000_000


async def test_tokens_signed_on_a_curve_verify() -> None:
    clock = Clock(NOW)
    wrapper = KeyWrapper(b"k" * 32, "ES256")
    signer = JwtSigner(wrapper.unwrap, "ES256", now=clock)
    signer.set_keys([await wrapper.generate(number=1, created_at=NOW, signs_from=NOW)])

    async def fetch() -> bytes:
        return json.dumps(signer.key_set()).encode()

    keys = Jwks("", "ES256", fetch=fetch)
    verifier = TokenVerifier(keys, issuer=ISSUER, audience="a", is_revoked=lambda _token: False, now=clock)
    await verifier.keys.refresh()
    claims = {"iss": ISSUER, "aud": "a", "sub": "c", "site": 1, "api_keys": [], "scope": "s", "jti": "j"}
    token = signer.sign({**claims, "iat": NOW, "exp": NOW + 10})
    assert (await verifier.verify(token)).client_id == "c"


def test_a_signer_without_keys_is_unavailable() -> None:
    signer = JwtSigner(KeyWrapper(b"k" * 32, "RS256").unwrap, "RS256", now=Clock(NOW))
    assert not signer.ready
    with pytest.raises(UnavailableError):
        signer.sign({})
    with pytest.raises(UnavailableError):
        signer.key_set()
