"""Schedule of the signing keys: which key signs when, and which keys are published.

A new key is created `activation_delay_s` before it signs: by then every replica has published it for two refresh
periods of the verifiers, so that all verifiers have it. The previous key stays published until the last token that it
signed has expired.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.auth.domain.grant import TOKEN_LIFETIME_S
from services.auth.domain.revocation import VERIFIER_LEEWAY_S

# Replicas may switch keys this much later than the schedule.
REPLICA_DELAY_S = 300
PUBLISHED_AFTER_S = TOKEN_LIFETIME_S + VERIFIER_LEEWAY_S + REPLICA_DELAY_S


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key pair. `number` orders the keys; the private key is encrypted."""

    number: int
    kid: str
    algorithm: str
    public: Mapping[str, str]
    wrapped_private_key: bytes = field(repr=False)
    created_at: int
    signs_from: int


def active_key(keys: Sequence[SigningKey], now: float) -> SigningKey | None:
    """Return the newest key whose activation time has come; the oldest if the clock is behind all of them."""
    ordered = sorted(keys, key=lambda key: key.number)
    return next((key for key in reversed(ordered) if key.signs_from <= now), ordered[0] if ordered else None)


def published_keys(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    """Return the keys to publish, newest first: future ones, the active one, and those whose tokens may be valid."""
    ordered = sorted(keys, key=lambda key: key.number)
    pairs = zip(ordered, [*ordered[1:], None], strict=True)
    published = [key for key, successor in pairs if successor is None or now < successor.signs_from + PUBLISHED_AFTER_S]
    return published[::-1]


def is_rotation_due(keys: Sequence[SigningKey], now: float, *, lifetime_s: int, activation_delay_s: float) -> bool:
    """Whether to add a key: none exists, or one added now would sign at or after the newest key's `lifetime_s`."""
    newest = max(keys, key=lambda key: key.number, default=None)
    return newest is None or now >= newest.signs_from + lifetime_s - activation_delay_s


def activation_time(keys: Sequence[SigningKey], now: float, *, activation_delay_s: float) -> int:
    """Return when a key that is added now signs: at once if it is the first, else once all verifiers have it."""
    return math.ceil(now + activation_delay_s) if keys else int(now)
