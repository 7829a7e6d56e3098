"""A redeemable code. Its text is nobody's business but its owner's."""

from msgspec import Struct


class Code(Struct, frozen=True):
    """What redeems one unit."""

    redeem_code: str
    pin_code: str | None = None

    def __repr__(self) -> str:
        """Not the code."""
        return "Code(…)"


class SealedCode(Struct, frozen=True):
    """A code that only the vault can read: its fingerprint, the key it is sealed with, the sealed bytes."""

    digest: str
    key_id: str
    ciphertext: bytes
