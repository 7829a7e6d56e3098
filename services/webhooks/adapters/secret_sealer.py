"""Encrypts the secrets of endpoints, and describes the public keys."""

import base64
from collections.abc import Collection

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec.structs import replace

from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, derive_key_id
from services.webhooks.domain.endpoint import Endpoint, SealedSecret
from services.webhooks.domain.signature import PUBLIC_KEY_PREFIX

ENCRYPTION_KEYS, SIGNING_KEYS = "WEBHOOKS_ENCRYPTION_KEYS", "WEBHOOKS_SIGNING_KEYS"


class AesSecretSealer:
    """Seals with the first of its keys and opens with any. A sealed secret is bound to its endpoint."""

    def __init__(self, keys: list[bytes]) -> None:
        self._cipher = KeyedCipher(keys, setting=ENCRYPTION_KEYS, subject="a secret")

    @property
    def key_id(self) -> str:
        """The id of the key that seals."""
        return self._cipher.key_id

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._cipher.key_ids

    def seal(self, endpoint_id: str, secret: bytes) -> SealedSecret:
        """Encrypt a secret."""
        encrypted = self._cipher.encrypt(secret, endpoint_id.encode())
        return SealedSecret(encrypted.key_id, encrypted.ciphertext)

    def open(self, endpoint_id: str, sealed: SealedSecret) -> bytes:
        """Decrypt a secret; raises `WrongKeyError`."""
        return self._cipher.decrypt(Encrypted(sealed.key_id, sealed.ciphertext), endpoint_id.encode())

    def reseal(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint with all its secrets encrypted with the first key; raises `WrongKeyError`."""
        resealed = [
            replace(self.seal(endpoint.id, self.open(endpoint.id, sealed)), expires_us=sealed.expires_us)
            for sealed in endpoint.secrets
        ]
        return replace(endpoint, secrets=resealed)


def load_signing_keys(seeds: list[bytes]) -> list[Ed25519PrivateKey]:
    """The key pairs of these seeds."""
    return [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]


def describe_public_key(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public key as a JWK (RFC 8037), and as Standard Webhooks writes it."""
    public = _public_bytes(key)
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "kid": derive_key_id(public),
        "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode(),
        "webhookKey": PUBLIC_KEY_PREFIX + base64.b64encode(public).decode(),
    }


def key_id(key: Ed25519PrivateKey) -> str:
    """The id of a key pair."""
    return derive_key_id(_public_bytes(key))


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
