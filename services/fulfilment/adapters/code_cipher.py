"""Seals codes with AES-256-GCM and tells whether two are the same without knowing either."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.fulfilment.domain.code import Code, SealedCode

KEY_BYTES = 32
NONCE_BYTES = 12

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Code).decode


class WrongKeyError(RuntimeError):
    """A code is sealed with a key that was not given, or is not what was sealed."""


class CodeCipher:
    """Seals with the first of its keys and opens with any. A key's id is derived from the key.

    Every sealed code is bound to its SKU and fingerprint: moved elsewhere, it cannot be opened.
    """

    def __init__(
        self, keys: list[bytes], digest_key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._ciphers: Mapping[str, AESGCM] = {_key_id(key): AESGCM(key) for key in keys}
        self.key_id = _key_id(keys[0])
        self._digest_key = digest_key
        self._random_bytes = random_bytes

    def seal(self, sku: str, code: Code) -> SealedCode:
        """The code as it may be stored."""
        # The PIN belongs to the code and does not make it another one.
        digest = hmac.new(self._digest_key, code.redeem_code.encode(), hashlib.sha256).hexdigest()
        nonce = self._random_bytes(NONCE_BYTES)
        sealed = nonce + self._ciphers[self.key_id].encrypt(nonce, _encode(code), _bound(sku, digest))
        return SealedCode(digest, self.key_id, sealed)

    def open(self, sku: str, sealed: SealedCode) -> Code:
        """The code; raises `WrongKey`."""
        cipher = self._ciphers.get(sealed.key_id)
        if cipher is None:
            raise WrongKeyError(
                f"a code is sealed with the key {sealed.key_id}, which is not among CODE_ENCRYPTION_KEYS"
            )
        nonce, text = sealed.ciphertext[:NONCE_BYTES], sealed.ciphertext[NONCE_BYTES:]
        try:
            return _decode(cipher.decrypt(nonce, text, _bound(sku, sealed.digest)))
        except InvalidTag:
            raise WrongKeyError(f"a code is not what was sealed with the key {sealed.key_id}") from None

    def reseal(self, sku: str, sealed: SealedCode) -> SealedCode:
        """The same code under the first key; raises `WrongKey`, too, if its fingerprint was made with another key."""
        fresh = self.seal(sku, self.open(sku, sealed))
        if fresh.digest != sealed.digest:
            # It is kept by its fingerprint and bound to it: nobody could open it there any more.
            raise WrongKeyError("CODE_DIGEST_KEY is not the key with which the codes were loaded")
        return fresh


def parse_keys(text: str) -> list[bytes]:
    """Keys of 32 bytes each in base64, with commas between; raises `ValueError`."""
    try:
        keys = [base64.b64decode(part.strip(), validate=True) for part in text.split(",")]
    except binascii.Error:
        raise ValueError("must be base64") from None
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"each key must have {KEY_BYTES} bytes")
    return keys


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"key id:" + key).hexdigest()[:12]


def _bound(sku: str, digest: str) -> bytes:
    return f"{digest}:{sku}".encode()
