"""A redeemable code, in clear and encrypted. Only its owner may see it in clear."""

from msgspec import Struct


class Code(Struct, frozen=True):
    """The code that redeems one unit."""

    redeem_code: str
    pin_code: str | None = None

    def __repr__(self) -> str:
        """Hide the code."""
        return "Code(…)"


class SealedCode(Struct, frozen=True):
    """An encrypted code; `digest` is its fingerprint, by which equal codes are recognised."""

    digest: str
    key_id: str
    ciphertext: bytes
