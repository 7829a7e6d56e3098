"""Rotates the signing keys."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.auth import metrics
from services.auth.domain.signing import SigningKey, activation_time, active_key, is_rotation_due
from services.auth.ports import KeyGenerator, KeyStore, Signer
from services.chassis.security.audit import AuditLog


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationDeps:
    """Dependencies and settings of key rotation. `actor` and `source` go into the audit lines."""

    keys: KeyStore
    generator: KeyGenerator
    signer: Signer
    audit: AuditLog
    lifetime_s: int
    activation_delay_s: float
    algorithm: str
    now: Callable[[], float]
    actor: str = "auth"
    source: str = "auth"


async def ensure_current_key(deps: KeyRotationDeps) -> None:
    """Activate the stored signing keys; add the next one if it is due. Safe to run on several replicas at once.

    Raises `UnavailableError`; the signer then keeps its keys.
    """
    keys = await _load_keys(deps)
    # Activate the stored keys first: if adding the next key fails, the old one keeps signing and its metric shows that
    # it is overdue.
    if keys:
        _activate(keys, deps)
    if is_rotation_due(keys, deps.now(), lifetime_s=deps.lifetime_s, activation_delay_s=deps.activation_delay_s):
        await add_key(deps)
        _activate(await _load_keys(deps), deps)


async def add_key(deps: KeyRotationDeps) -> bool:
    """Add the next key; False if another replica added it first. Raises `UnavailableError`."""
    keys = await deps.keys.all()
    same_algorithm = [key for key in keys if key.algorithm == deps.algorithm]
    key = await deps.generator.generate(
        number=max((key.number for key in keys), default=0) + 1,
        created_at=int(deps.now()),
        signs_from=activation_time(same_algorithm, deps.now(), activation_delay_s=deps.activation_delay_s),
    )
    added = await deps.keys.add(key)
    if added:
        deps.audit.record(
            "signing key added", actor=deps.actor, source=deps.source, kid=key.kid, signsFrom=key.signs_from
        )
    return added


def _activate(keys: Sequence[SigningKey], deps: KeyRotationDeps) -> None:
    deps.signer.set_keys(keys)
    active = active_key(keys, deps.now())
    metrics.SIGNING_KEY_SINCE.set(active.signs_from if active else 0)
    metrics.SIGNING_KEY_DUE.set(active.signs_from + deps.lifetime_s if active else 0)


async def _load_keys(deps: KeyRotationDeps) -> list[SigningKey]:
    return [key for key in await deps.keys.all() if key.algorithm == deps.algorithm]
