"""Signatures of Standard Webhooks 1.0: `v1` with a secret that both sides have, `v1a` with a key pair."""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import Protocol

SECRET_PREFIX = "whsec_"  # noqa: S105 - a prefix, no secret
PUBLIC_KEY_PREFIX = "whpk_"
SECRET_BYTES = 32


class PrivateKey(Protocol):
    """An Ed25519 key."""

    def sign(self, data: bytes) -> bytes:
        """The signature."""


def format_secret(secret: bytes) -> str:
    """The secret as its owner gets it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def build_headers(
    event_id: str, body: bytes, *, at_s: int, secrets: Iterable[bytes], keys: Iterable[PrivateKey]
) -> Mapping[str, str]:
    """The headers of a request: its id, its time, and one signature for each secret and key."""
    content = f"{event_id}.{at_s}.".encode() + body
    signatures = [f"v1,{_encode(hmac.new(secret, content, hashlib.sha256).digest())}" for secret in secrets]
    signatures += [f"v1a,{_encode(key.sign(content))}" for key in keys]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": " ".join(signatures),
    }


def _encode(signature: bytes) -> str:
    return base64.b64encode(signature).decode()
