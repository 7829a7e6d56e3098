"""Generates signing keys and encrypts ("wraps") their private keys for the store."""

import asyncio
import base64
import json
import secrets
from collections.abc import Callable
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_der_private_key
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from services.auth.domain.signing import SigningKey
from services.auth.ports import KeyGenerator

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

NONCE_BYTES = 12
RSA_BITS = 2048


class KeyDecryptionError(RuntimeError):
    """A signing key cannot be decrypted with the configured encryption key."""


class KeyWrapper(KeyGenerator):
    """Wraps private keys with AES-256-GCM; the key id is the associated data."""

    def __init__(
        self, encryption_key: bytes, algorithm: str, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._cipher = AESGCM(encryption_key)
        self._algorithm = algorithm
        self._random_bytes = random_bytes

    async def generate(self, *, number: int, created_at: int, signs_from: int) -> SigningKey:
        private = await asyncio.to_thread(_generate_private_key, self._algorithm)
        public = _to_public_jwk(private)
        kid = _thumbprint(public)
        return SigningKey(
            number=number,
            kid=kid,
            algorithm=self._algorithm,
            public={**public, "kid": kid, "use": "sig", "alg": self._algorithm},
            wrapped_private_key=self._wrap(private, kid),
            created_at=created_at,
            signs_from=signs_from,
        )

    def unwrap(self, key: SigningKey) -> PrivateKey:
        """Return the private key. Raises `KeyDecryptionError`."""
        nonce, ciphertext = key.wrapped_private_key[:NONCE_BYTES], key.wrapped_private_key[NONCE_BYTES:]
        try:
            der = self._cipher.decrypt(nonce, ciphertext, key.kid.encode())
        except InvalidTag:
            raise KeyDecryptionError(
                f"signing key {key.kid} was encrypted with another AUTH_KEY_ENCRYPTION_KEY"
            ) from None
        # AES-GCM has authenticated the bytes. Validating the primes again would block the event loop for 50 ms.
        private = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(private, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
            raise KeyDecryptionError(f"signing key {key.kid} is neither an RSA nor an EC key")
        return private

    def _wrap(self, private: PrivateKey, kid: str) -> bytes:
        der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        nonce = self._random_bytes(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, der, kid.encode())


def _generate_private_key(algorithm: str) -> PrivateKey:
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def _to_public_jwk(private: PrivateKey) -> dict[str, str]:
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        jwk = RSAAlgorithm.to_jwk(public, as_dict=True)
        return {name: jwk[name] for name in ("e", "kty", "n")}
    jwk = ECAlgorithm.to_jwk(public, as_dict=True)
    return {name: jwk[name] for name in ("crv", "kty", "x", "y")}


def _thumbprint(public: dict[str, str]) -> str:
    """JWK thumbprint (RFC 7638), the key's id: derived from the key, so that no two keys share one."""
    canonical = json.dumps(public, sort_keys=True, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(sha256(canonical).digest()).rstrip(b"=").decode()
