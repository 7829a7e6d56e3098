"""When which key signs, and how long it is published.

A new key is made `ahead_s` before it signs: every replica has then published it for two refresh periods of the
verifiers, so that all know it. The key before it stays published until the last token that it signed has expired.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# Lifetime of a token, the verifiers' leeway, and what replicas may be late in changing keys.
PUBLISHED_AFTER_S = 28_800 + 60 + 300


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A key pair. `number` orders the keys; the private half is sealed."""

    number: int
    kid: str
    algorithm: str
    public: Mapping[str, str]
    wrapped_private_key: bytes = field(repr=False)
    created_at: int
    signs_from: int


def active_key(keys: Sequence[SigningKey], now: float) -> SigningKey | None:
    """The key that signs now: the newest whose time has come; the oldest, should a clock stand before all of them."""
    ordered = sorted(keys, key=lambda key: key.number)
    return next((key for key in reversed(ordered) if key.signs_from <= now), ordered[0] if ordered else None)


def published_keys(keys: Sequence[SigningKey], now: float) -> list[SigningKey]:
    """The keys to be published now, newest first: those to come, the one that signs, those with tokens still about."""
    ordered = sorted(keys, key=lambda key: key.number)
    followed = zip(ordered, [*ordered[1:], None], strict=True)
    kept = [key for key, after in followed if after is None or now < after.signs_from + PUBLISHED_AFTER_S]
    return kept[::-1]


def is_rotation_due(keys: Sequence[SigningKey], now: float, *, lifetime_s: int, activation_delay_s: float) -> bool:
    """Whether a key must be added: there is none, or the newest will have signed for `lifetime_s` when the next can."""
    newest = max(keys, key=lambda key: key.number, default=None)
    return newest is None or now >= newest.signs_from + lifetime_s - activation_delay_s


def activation_time(keys: Sequence[SigningKey], now: float, *, activation_delay_s: float) -> int:
    """When a key that is added now may sign: at once if it is the first, else when all verifiers know it."""
    return math.ceil(now + activation_delay_s) if keys else int(now)
