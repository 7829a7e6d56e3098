"""Signatures of Standard Webhooks 1.0, as Tillstream's events carry them (`v1`, HMAC-SHA256)."""

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping

from tillstream.errors import TillstreamError

PREFIX = "whsec_"
TOLERANCE_S = 300


class SignatureError(TillstreamError):
    """The request was not signed with this secret, or too long ago."""


def new_secret() -> str:
    """Return a secret for tests of a receiver."""
    return PREFIX + base64.b64encode(secrets.token_bytes(24)).decode()


def sign(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of `webhook-signature`."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def headers(secret: str, message_id: str, body: bytes) -> dict[str, str]:
    """Return the header fields of a signed request."""
    now = int(time.time())
    return {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(secret, message_id, now, body),
    }


def verify(secret: str, received: Mapping[str, str], body: bytes, *, now: float | None = None) -> None:
    """Return if one of the signatures is ours and fresh; raises `SignatureError`."""
    fields = {name.lower(): value for name, value in received.items()}
    message_id, timestamp = fields.get("webhook-id", ""), fields.get("webhook-timestamp", "")
    if not timestamp.isdecimal():
        raise SignatureError("webhook-timestamp is missing or no number")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_S:
        raise SignatureError(f"webhook-timestamp is more than {TOLERANCE_S} s away from now")
    expected = sign(secret, message_id, int(timestamp), body)
    if not any(hmac.compare_digest(expected, one) for one in fields.get("webhook-signature", "").split()):
        raise SignatureError("no signature in webhook-signature is that of this secret")


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SignatureError("the secret is not whsec_ and base64") from None
