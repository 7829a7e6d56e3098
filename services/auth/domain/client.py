"""A client: whose it is, what it may do, and the secrets that prove it."""

from dataclasses import dataclass, field, replace

MAX_ACTIVE_SECRETS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """The hash of a secret and the time it is good for, in seconds since the epoch."""

    secret_id: str
    hash: str = field(repr=False)
    created_at: int
    expires_at: int | None = None

    def is_active(self, now: float) -> bool:
        """Whether the secret still proves anything."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Someone who can get tokens. `revision` counts stored changes; 0 was never stored."""

    client_id: str
    site: int
    api_keys: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    revision: int = 0

    def active_secrets(self, now: float) -> tuple[Secret, ...]:
        """The secrets that prove something now."""
        return tuple(secret for secret in self.secrets if secret.is_active(now))


class RuleViolationError(ValueError):
    """The change breaks a rule; the text says which, for the operator."""


class ClientNotFoundError(RuleViolationError):
    """Nobody of this id is known."""


def with_secret(client: Client, secret: Secret, *, now: float, grace_s: int | None = None) -> Client:
    """The client with one secret more; with `grace_s` the others end that much later. Two can be active at a time."""
    active = client.active_secrets(now)
    if len(active) >= MAX_ACTIVE_SECRETS:
        raise RuleViolationError(f"client {client.client_id} has {MAX_ACTIVE_SECRETS} active secrets; remove one first")
    if grace_s is not None:
        active = tuple(_expire_by(kept, at=int(now) + grace_s) for kept in active)
    return replace(client, secrets=(*active, secret))


def _expire_by(secret: Secret, *, at: int) -> Secret:
    return replace(secret, expires_at=at if secret.expires_at is None else min(at, secret.expires_at))


def without_secret(client: Client, secret_id: str, *, now: float) -> Client:
    """The client without this secret; the last active one stays."""
    if all(secret.secret_id != secret_id for secret in client.secrets):
        raise RuleViolationError(f"client {client.client_id} has no such secret")
    kept = tuple(secret for secret in client.secrets if secret.secret_id != secret_id)
    changed = replace(client, secrets=kept)
    # A secret that ends by itself does not count: it would leave the client with none.
    if not any(secret.expires_at is None for secret in changed.active_secrets(now)):
        raise RuleViolationError(f"this secret is the last of client {client.client_id}; add another first")
    return changed
