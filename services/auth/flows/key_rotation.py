"""The signing keys' life: made, published, signing, retired."""

from collections.abc import Callable
from dataclasses import dataclass

from services.auth import metrics
from services.auth.domain.signing import SigningKey, activation_time, active_key, is_rotation_due
from services.auth.ports import AuditLog, KeyGenerator, KeyStore, Signer


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRotationDeps:
    """Everything that tending the signing keys may touch."""

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
    """Take up the signing keys that are kept; add one first if it is time. Replicas may do so at once.

    Raises `Away` when the store does not answer; what was in use stays in use.
    """
    keys = await _load_keys(deps)
    # First, so that the old key signs, and that it should not is told, where the next one cannot be added.
    if keys:
        _activate(keys, deps)
    if is_rotation_due(keys, deps.now(), lifetime_s=deps.lifetime_s, activation_delay_s=deps.activation_delay_s):
        await add_key(deps)
        _activate(await _load_keys(deps), deps)


def _activate(keys: list[SigningKey], world: KeyRotationDeps) -> None:
    world.signer.set_keys(keys)
    current = active_key(keys, world.now())
    metrics.SIGNING_KEY_SINCE.set(current.signs_from if current else 0)
    metrics.SIGNING_KEY_DUE.set(current.signs_from + world.lifetime_s if current else 0)


async def add_key(deps: KeyRotationDeps) -> bool:
    """Add the next key; False if another replica was faster, which is as good."""
    everything = await deps.keys.all()
    same = [key for key in everything if key.algorithm == deps.algorithm]
    key = await deps.generator.generate(
        number=max((key.number for key in everything), default=0) + 1,
        created_at=int(deps.now()),
        signs_from=activation_time(same, deps.now(), activation_delay_s=deps.activation_delay_s),
    )
    added = await deps.keys.add(key)
    if added:
        deps.audit.record(
            "signing key added", actor=deps.actor, source=deps.source, kid=key.kid, signsFrom=key.signs_from
        )
    return added


async def _load_keys(world: KeyRotationDeps) -> list[SigningKey]:
    return [key for key in await world.keys.all() if key.algorithm == world.algorithm]
