"""Endpoints: where a site's events are pushed to."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from services.webhooks.domain.retry import DAY_US

MAX_ENDPOINTS = 20
MAX_LIVE_SECRETS = 4
MAX_OVERLAP_S = 86_400
# Without any success for so long, an endpoint is disabled.
MAX_FAILING_US = 5 * DAY_US


class EndpointState(StrEnum):
    """Whether events are pushed."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled: it failed for days, answered 410, or its owner wanted it."""

    FAILING = "failing"
    GONE = "gone"
    REQUESTED = "requested"


class SealedSecret(Struct, frozen=True, gc=False):
    """An encrypted secret; it signs until it expires, or without end."""

    key_id: str
    ciphertext: bytes
    expires_us: int | None = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """An endpoint. Events up to `position` are delivered or recorded as deliveries; those behind it are still to come.

    `failing_since_us` is when the first try after the last success failed.
    """

    id: str
    site: int
    url: str
    types: Sequence[str] = ()
    description: str = ""
    is_ordered: bool = False
    state: EndpointState = EndpointState.ENABLED
    reason: DisabledReason | None = None
    created_us: int
    secrets: Sequence[SealedSecret]
    position: int
    failures: int = 0
    failing_since_us: int | None = None
    disabled_us: int | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether events are pushed."""
        return self.state is EndpointState.ENABLED


class Progress(Struct, frozen=True, gc=False):
    """What an endpoint's sender has achieved."""

    position: int
    failures: int
    failing_since_us: int | None


def live_secrets(endpoint: Endpoint, *, now_us: int) -> list[SealedSecret]:
    """The secrets that sign now, the newest first."""
    return [secret for secret in endpoint.secrets if secret.expires_us is None or secret.expires_us > now_us]


def is_failing_too_long(progress: Progress, *, now_us: int) -> bool:
    """Whether the endpoint is to be disabled."""
    return progress.failing_since_us is not None and now_us - progress.failing_since_us >= MAX_FAILING_US


def missed_since_us(endpoint: Endpoint) -> int:
    """From when on events may not have been delivered to a disabled endpoint."""
    return min(each for each in (endpoint.failing_since_us, endpoint.disabled_us, 2**62) if each is not None)
