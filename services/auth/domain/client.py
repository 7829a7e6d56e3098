"""OAuth clients and their secrets."""

from dataclasses import dataclass, field, replace

MAX_ACTIVE_SECRETS = 2
MAX_GRACE_H = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """The hash of a secret and its lifetime, in seconds since the epoch."""

    secret_id: str
    hash: str = field(repr=False)
    created_at: int
    expires_at: int | None = None

    def is_active(self, now: float) -> bool:
        """Whether the secret has not expired."""
        return self.expires_at is None or now < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """An OAuth client: its site, API keys, scopes and secrets. `revision` counts stored changes; 0 was never stored."""

    client_id: str
    site: int
    api_keys: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    secrets: tuple[Secret, ...] = ()
    revision: int = 0

    def active_secrets(self, now: float) -> tuple[Secret, ...]:
        """The secrets that have not expired."""
        return tuple(secret for secret in self.secrets if secret.is_active(now))


class RuleViolationError(ValueError):
    """The change breaks a rule; the text says which, for the operator."""


class ClientNotFoundError(RuleViolationError):
    """There is no client with this id."""


def with_secret(client: Client, secret: Secret, *, now: float, grace_s: int | None = None) -> Client:
    """Return the client with one more secret; with `grace_s` the others expire after it.

    Raises `RuleViolationError` when two secrets are active.
    """
    active = client.active_secrets(now)
    if len(active) >= MAX_ACTIVE_SECRETS:
        raise RuleViolationError(
            f"client {client.client_id} has {MAX_ACTIVE_SECRETS} active secrets, the maximum: remove one first"
        )
    if grace_s is not None:
        at = int(now) + grace_s
        active = tuple(replace(other, expires_at=min(at, other.expires_at or at)) for other in active)
    return replace(client, secrets=(*active, secret))


def without_secret(client: Client, secret_id: str, *, now: float) -> Client:
    """Return the client without this secret. Raises `RuleViolationError` for the last one that does not expire."""
    if all(secret.secret_id != secret_id for secret in client.secrets):
        raise RuleViolationError(f"client {client.client_id} has no such secret")
    changed = replace(client, secrets=tuple(secret for secret in client.secrets if secret.secret_id != secret_id))
    # A secret that expires does not count: it would leave the client without any.
    if not any(secret.expires_at is None for secret in changed.active_secrets(now)):
        raise RuleViolationError(f"this secret is the last of client {client.client_id}: add another first")
    return changed
