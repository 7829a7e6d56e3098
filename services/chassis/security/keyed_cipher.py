"""Encryption at rest with keys that can be replaced: AES-256-GCM, each ciphertext with the id of its key."""

import base64
import binascii
import hashlib
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

KEY_BYTES = 32
NONCE_BYTES = 12


class WrongKeyError(RuntimeError):
    """The key of a ciphertext is not configured, or it was not encrypted with it."""


class Encrypted(Struct, frozen=True, gc=False):
    """A ciphertext with its nonce before it, and the id of its key."""

    key_id: str
    ciphertext: bytes


class KeyedCipher:
    """Encrypts with the first of its keys and decrypts with any. A key's id is derived from the key.

    `setting` and `subject` are for error messages: where the keys come from, and what they encrypt, such as `a code`.
    A ciphertext is bound to its associated data: together with others, it cannot be decrypted.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        *,
        setting: str,
        subject: str,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._ciphers: Mapping[str, AESGCM] = {derive_key_id(key): AESGCM(key) for key in keys}
        self.key_id = derive_key_id(keys[0])
        self._setting = setting
        self._subject = subject
        self._random_bytes = random_bytes

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._ciphers.keys()

    def encrypt(self, data: bytes, associated: bytes) -> Encrypted:
        """Encrypt data."""
        nonce = self._random_bytes(NONCE_BYTES)
        return Encrypted(self.key_id, nonce + self._ciphers[self.key_id].encrypt(nonce, data, associated))

    def decrypt(self, encrypted: Encrypted, associated: bytes) -> bytes:
        """Decrypt data; raises `WrongKeyError`."""
        cipher = self._ciphers.get(encrypted.key_id)
        if cipher is None:
            raise WrongKeyError(
                f"{self._subject} is sealed with the key {encrypted.key_id}, which {self._setting} lacks"
            )
        nonce, rest = encrypted.ciphertext[:NONCE_BYTES], encrypted.ciphertext[NONCE_BYTES:]
        try:
            return cipher.decrypt(nonce, rest, associated)
        except InvalidTag:
            raise WrongKeyError(f"{self._subject} cannot be opened with its key {encrypted.key_id}") from None


def parse_keys(text: str) -> list[bytes]:
    """Parse comma-separated base64 keys of 32 bytes; raises `ValueError`."""
    try:
        keys = [base64.b64decode(part.strip(), validate=True) for part in text.split(",")]
    except binascii.Error:
        raise ValueError("must be base64") from None
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"each key must have {KEY_BYTES} bytes")
    return keys


def derive_key_id(key: bytes) -> str:
    """Return a short id from which the key cannot be derived."""
    return hashlib.sha256(b"key id:" + key).hexdigest()[:12]
