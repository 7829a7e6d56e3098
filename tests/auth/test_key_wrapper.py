"""Private keys are encrypted, each with its own nonce and bound to its own id."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt import PyJWK

from services.auth.adapters.key_wrapper import NONCE_BYTES, KeyDecryptionError, KeyWrapper, _thumbprint
from services.auth.domain.signing import SigningKey

ENCRYPTION_KEY = bytes(range(32))
ALGORITHMS = pytest.mark.parametrize("algorithm", ["RS256", "ES256"])


def a_wrapper(
    algorithm: str = "ES256", key: bytes = ENCRYPTION_KEY, *, random_bytes: Callable[[int], bytes] | None = None
) -> KeyWrapper:
    return KeyWrapper(key, algorithm, **({} if random_bytes is None else {"random_bytes": random_bytes}))


@ALGORITHMS
async def test_what_is_opened_belongs_to_what_is_published(algorithm: str) -> None:
    wrapper = a_wrapper(algorithm)
    key = await wrapper.generate(number=3, created_at=5, signs_from=7)
    private, published = wrapper.unwrap(key), PyJWK(dict(key.public)).key
    assert private.public_key().public_numbers() == published.public_numbers()
    assert (key.number, key.created_at, key.signs_from, key.algorithm) == (3, 5, 7, algorithm)
    assert (key.public["kid"], key.public["use"], key.public["alg"]) == (key.kid, "sig", algorithm)
    assert not key.public.keys() & {"d", "p", "q", "dp", "dq", "qi", "k"}


async def test_keys_are_as_strong_as_they_say() -> None:
    rsa_key, curve_key = [
        a_wrapper(algorithm).unwrap(await a_wrapper(algorithm).generate(number=1, created_at=0, signs_from=0))
        for algorithm in ("RS256", "ES256")
    ]
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert (rsa_key.key_size, rsa_key.public_key().public_numbers().e) == (2048, 65537)
    assert isinstance(curve_key, ec.EllipticCurvePrivateKey)
    assert isinstance(curve_key.curve, ec.SECP256R1)


async def test_each_seal_has_a_nonce_of_its_own_drawn_at_random() -> None:
    """Reusing a nonce reveals both plaintexts and the authentication key."""
    requested: list[int] = []

    def random_bytes(count: int) -> bytes:
        requested.append(count)
        return bytes([len(requested)]) * count

    wrapper = a_wrapper(random_bytes=random_bytes)
    keys = [await wrapper.generate(number=number, created_at=0, signs_from=0) for number in (1, 2)]
    assert [key.wrapped_private_key[:NONCE_BYTES] for key in keys] == [b"\1" * 12, b"\2" * 12]
    assert requested == [NONCE_BYTES] * 2
    by_chance = [await a_wrapper().generate(number=number, created_at=0, signs_from=0) for number in (1, 2)]
    assert by_chance[0].wrapped_private_key[:NONCE_BYTES] != by_chance[1].wrapped_private_key[:NONCE_BYTES]


Tampering = Callable[[SigningKey, SigningKey], tuple[KeyWrapper, SigningKey]]
TAMPERED: dict[str, Tampering] = {
    "another encryption key": lambda key, _: (a_wrapper(key=bytes(32)), key),
    "the ciphertext of another key": lambda key, other: (
        a_wrapper(),
        replace(key, wrapped_private_key=other.wrapped_private_key),
    ),
    "another id": lambda key, other: (a_wrapper(), replace(key, kid=other.kid)),
    "a flipped bit": lambda key, _: (
        a_wrapper(),
        replace(key, wrapped_private_key=bytes([*key.wrapped_private_key[:-1], key.wrapped_private_key[-1] ^ 1])),
    ),
}


@pytest.mark.parametrize("how", TAMPERED)
async def test_a_seal_is_opened_by_its_own_key_for_its_own_id_only(how: str) -> None:
    key, other = [await a_wrapper().generate(number=number, created_at=0, signs_from=0) for number in (1, 2)]
    wrapper, tampered = TAMPERED[how](key, other)
    with pytest.raises(KeyDecryptionError, match="AUTH_KEY_ENCRYPTION_KEY"):
        wrapper.unwrap(tampered)


@ALGORITHMS
async def test_a_sealed_key_opens_only_with_its_seal(algorithm: str) -> None:
    wrapper = KeyWrapper(b"k" * 32, algorithm)
    key = await wrapper.generate(number=1, created_at=0, signs_from=0)
    assert "d" not in key.public
    assert key.public["alg"] == algorithm
    wrapper.unwrap(key)
    with pytest.raises(KeyDecryptionError, match="AUTH_KEY_ENCRYPTION_KEY"):
        KeyWrapper(b"x" * 32, algorithm).unwrap(key)
    other = await wrapper.generate(number=2, created_at=0, signs_from=0)
    moved = SigningKey(
        number=1,
        kid=other.kid,
        algorithm=algorithm,
        public=other.public,
        wrapped_private_key=key.wrapped_private_key,
        created_at=0,
        signs_from=0,
    )
    with pytest.raises(KeyDecryptionError):
        wrapper.unwrap(moved)
    assert b"PRIVATE" not in key.wrapped_private_key
    assert "wrapped_private_key" not in repr(key)


def test_an_id_is_the_thumbprint_that_anyone_can_compute() -> None:
    """The example of RFC 7638."""
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3o"
        "knjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZH"
        "zu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEg"
        "U8awapJzKnqDKgw"
    )
    assert _thumbprint({"e": "AQAB", "kty": "RSA", "n": n}) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
