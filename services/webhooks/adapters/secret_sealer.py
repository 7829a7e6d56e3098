"""Encrypts the secrets of endpoints with AES-256-GCM."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.webhooks.domain.endpoint import SealedSecret
from services.webhooks.domain.signature import PUBLIC_KEY_PREFIX

KEY_BYTES = 32
NONCE_BYTES = 12


class WrongKeyError(RuntimeError):
    """The key of a sealed secret is not configured, or the secret was not sealed with it."""


class AesSecretSealer:
    """Seals with the first of its keys and opens with any. A sealed secret is bound to its endpoint."""

    def __init__(self, keys: list[bytes], *, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._ciphers: Mapping[str, AESGCM] = {_key_id(key): AESGCM(key) for key in keys}
        self._key_id = _key_id(keys[0])
        self._random_bytes = random_bytes

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._ciphers.keys()

    def seal(self, endpoint_id: str, secret: bytes) -> SealedSecret:
        """Encrypt a secret."""
        nonce = self._random_bytes(NONCE_BYTES)
        ciphertext = nonce + self._ciphers[self._key_id].encrypt(nonce, secret, endpoint_id.encode())
        return SealedSecret(self._key_id, ciphertext)

    def open(self, endpoint_id: str, sealed: SealedSecret) -> bytes:
        """Decrypt a secret; raises `WrongKeyError`."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise WrongKeyError(
                f"a secret is sealed with the key {sealed.key_id}, which WEBHOOKS_ENCRYPTION_KEYS lacks"
            )
        nonce, encrypted = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, encrypted, endpoint_id.encode())
        except InvalidTag:
            raise WrongKeyError(f"a secret cannot be opened with its key {sealed.key_id}") from None


def parse_keys(text: str) -> list[bytes]:
    """Parse comma-separated base64 keys of 32 bytes; raises `ValueError`."""
    try:
        keys = [base64.b64decode(part.strip(), validate=True) for part in text.split(",")]
    except binascii.Error:
        raise ValueError("must be base64") from None
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"each key must have {KEY_BYTES} bytes")
    return keys


def load_signing_keys(seeds: list[bytes]) -> list[Ed25519PrivateKey]:
    """The key pairs of these seeds."""
    return [Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds]


def describe_public_key(key: Ed25519PrivateKey) -> dict[str, str]:
    """The public key as a JWK (RFC 8037), and as Standard Webhooks writes it."""
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "use": "sig",
        "kid": _key_id(public),
        "x": base64.urlsafe_b64encode(public).rstrip(b"=").decode(),
        "webhookKey": PUBLIC_KEY_PREFIX + base64.b64encode(public).decode(),
    }


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id:" + key).hexdigest()[:12]
