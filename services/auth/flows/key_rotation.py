"""The signing keys' life: made, published, signing, retired."""

from collections.abc import Callable
from dataclasses import dataclass

from services.auth import metrics
from services.auth.domain.signing import SigningKey, is_due, signer, starts_signing
from services.auth.ports import AuditLog, Keys, Signer, Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyWorld:
    """Everything that tending the signing keys may touch."""

    keys: Keys
    vault: Vault
    signer: Signer
    audit: AuditLog
    lifetime_s: int
    ahead_s: float
    algorithm: str
    now: Callable[[], float]
    who: str = "auth"
    where: str = "auth"


async def tend_keys(world: KeyWorld) -> None:
    """Take up the signing keys that are kept; add one first if it is time. Replicas may do so at once.

    Raises `Away` when the store does not answer; what was in use stays in use.
    """
    keys = await _kept_keys(world)
    # First, so that the old key signs, and that it should not is told, where the next one cannot be added.
    if keys:
        _take_up(keys, world)
    if is_due(keys, world.now(), lifetime_s=world.lifetime_s, ahead_s=world.ahead_s):
        await add_key(world)
        _take_up(await _kept_keys(world), world)


def _take_up(keys: list[SigningKey], world: KeyWorld) -> None:
    world.signer.use(keys)
    current = signer(keys, world.now())
    metrics.SIGNING_KEY_SINCE.set(current.signs_from if current else 0)
    metrics.SIGNING_KEY_DUE.set(current.signs_from + world.lifetime_s if current else 0)


async def add_key(world: KeyWorld) -> bool:
    """Add the next key; False if another replica was faster, which is as good."""
    everything = await world.keys.all()
    same = [key for key in everything if key.algorithm == world.algorithm]
    key = await world.vault.create(
        number=max((key.number for key in everything), default=0) + 1,
        created_at=int(world.now()),
        signs_from=starts_signing(same, world.now(), ahead_s=world.ahead_s),
    )
    added = await world.keys.add(key)
    if added:
        world.audit.record(
            "signing key added", actor=world.who, source=world.where, kid=key.kid, signsFrom=key.signs_from
        )
    return added


async def _kept_keys(world: KeyWorld) -> list[SigningKey]:
    return [key for key in await world.keys.all() if key.algorithm == world.algorithm]
