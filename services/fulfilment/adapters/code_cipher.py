"""Encrypts codes, and fingerprints them so that equal codes are recognised without decryption."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Collection

import msgspec

from services.chassis.security.keyed_cipher import Encrypted, KeyedCipher, WrongKeyError
from services.fulfilment.domain.code import Code, SealedCode

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Code).decode


class CodeCipher:
    """Seals with the first of its keys and opens with any.

    A sealed code is bound to its SKU and fingerprint: stored under others, it cannot be opened.
    """

    def __init__(
        self, keys: list[bytes], digest_key: bytes, *, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._cipher = KeyedCipher(keys, setting="CODE_ENCRYPTION_KEYS", subject="a code", random_bytes=random_bytes)
        self._digest_key = digest_key

    @property
    def key_id(self) -> str:
        """The id of the key that seals."""
        return self._cipher.key_id

    @property
    def key_ids(self) -> Collection[str]:
        """The ids of all keys."""
        return self._cipher.key_ids

    def seal(self, sku: str, code: Code) -> SealedCode:
        """Encrypt a code."""
        # The PIN is not part of the fingerprint: the same code with another PIN is the same code.
        digest = hmac.new(self._digest_key, code.redeem_code.encode(), hashlib.sha256).hexdigest()
        encrypted = self._cipher.encrypt(_encode(code), _associated_data(sku, digest))
        return SealedCode(digest, encrypted.key_id, encrypted.ciphertext)

    def open(self, sku: str, sealed: SealedCode) -> Code:
        """Decrypt a code; raises `WrongKeyError`."""
        encrypted = Encrypted(sealed.key_id, sealed.ciphertext)
        return _decode(self._cipher.decrypt(encrypted, _associated_data(sku, sealed.digest)))

    def reseal(self, sku: str, sealed: SealedCode) -> SealedCode:
        """Encrypt a sealed code with the first key; raises `WrongKeyError`, also for another CODE_DIGEST_KEY."""
        resealed = self.seal(sku, self.open(sku, sealed))
        if resealed.digest != sealed.digest:
            # The code is stored under its old fingerprint, where it could no longer be opened.
            raise WrongKeyError("CODE_DIGEST_KEY is not the key with which the codes were loaded")
        return resealed


def _associated_data(sku: str, digest: str) -> bytes:
    return f"{digest}:{sku}".encode()
