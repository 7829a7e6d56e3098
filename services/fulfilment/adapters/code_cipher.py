"""Encrypts codes with AES-256-GCM, and fingerprints them so that equal codes are recognised without decryption."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.fulfilment.domain.code import Code, SealedCode

KEY_BYTES = 32
NONCE_BYTES = 12

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Code).decode


class WrongKeyError(RuntimeError):
    """The key of a sealed code is not configured, or the code was not sealed with it."""


class CodeCipher:
    """Seals with the first of its keys and opens with any. A key's id is derived from the key.

    A sealed code is bound to its SKU and fingerprint: stored under others, it cannot be opened.
    """

    def __init__(
        self, keys: list[bytes], digest_key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._ciphers: Mapping[str, AESGCM] = {_key_id(key): AESGCM(key) for key in keys}
        self.key_id = _key_id(keys[0])
        self._digest_key = digest_key
        self._random_bytes = random_bytes

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._ciphers.keys()

    def seal(self, sku: str, code: Code) -> SealedCode:
        """Encrypt a code."""
        # The PIN is not part of the fingerprint: the same code with another PIN is the same code.
        digest = hmac.new(self._digest_key, code.redeem_code.encode(), hashlib.sha256).hexdigest()
        nonce = self._random_bytes(NONCE_BYTES)
        encrypted = self._ciphers[self.key_id].encrypt(nonce, _encode(code), _associated_data(sku, digest))
        return SealedCode(digest, self.key_id, nonce + encrypted)

    def open(self, sku: str, sealed: SealedCode) -> Code:
        """Decrypt a code; raises `WrongKeyError`."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise WrongKeyError(f"a code is sealed with the key {sealed.key_id}, which CODE_ENCRYPTION_KEYS lacks")
        nonce, encrypted = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        try:
            return _decode(cipher.decrypt(nonce, encrypted, _associated_data(sku, sealed.digest)))
        except InvalidTag:
            raise WrongKeyError(f"a code cannot be opened with its key {sealed.key_id}") from None

    def reseal(self, sku: str, sealed: SealedCode) -> SealedCode:
        """Encrypt a sealed code with the first key; raises `WrongKeyError`, also for another CODE_DIGEST_KEY."""
        resealed = self.seal(sku, self.open(sku, sealed))
        if resealed.digest != sealed.digest:
            # The code is stored under its old fingerprint, where it could no longer be opened.
            raise WrongKeyError("CODE_DIGEST_KEY is not the key with which the codes were loaded")
        return resealed


def parse_keys(text: str) -> list[bytes]:
    """Parse comma-separated base64 keys of 32 bytes; raises `ValueError`."""
    try:
        keys = [base64.b64decode(part.strip(), validate=True) for part in text.split(",")]
    except binascii.Error:
        raise ValueError("must be base64") from None
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"each key must have {KEY_BYTES} bytes")
    return keys


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id:" + key).hexdigest()[:12]


def _associated_data(sku: str, digest: str) -> bytes:
    return f"{digest}:{sku}".encode()
