"""Error responses of the OAuth endpoints (RFC 6749, 5.2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OAuthError:
    """An error response. `reason` is more specific than `error`, for metrics and the audit log only."""

    error: str
    description: str
    reason: str
    status: int = 400
    retry_after_s: int | None = None


def invalid_request(description: str, *, reason: str = "invalid_request") -> OAuthError:
    """Return the error for a malformed request."""
    return OAuthError("invalid_request", description, reason)


def invalid_client(*, reason: str = "invalid_client") -> OAuthError:
    """Return the error for an unknown client or a wrong secret; the response does not say which."""
    return OAuthError("invalid_client", "The client id or the secret is not right.", reason, 401)


def too_many_attempts(retry_after_s: int) -> OAuthError:
    """Return the error for too many failed attempts."""
    description = "Too many failed tries; wait before the next one."
    return OAuthError("temporarily_unavailable", description, "too_many_attempts", 429, retry_after_s)


def unavailable(retry_after_s: int) -> OAuthError:
    """Return the error while a dependency is unavailable."""
    description = "Tokens cannot be issued just now; try again."
    return OAuthError("temporarily_unavailable", description, "unavailable", 503, retry_after_s)


UNSUPPORTED_GRANT_TYPE = OAuthError(
    "unsupported_grant_type", "The only grant type is client_credentials.", "unsupported_grant_type"
)
UNAUTHORIZED_CLIENT = OAuthError("unauthorized_client", "The client may not use this API.", "unauthorized_client")
INVALID_SCOPE = OAuthError(
    "invalid_scope", "A scope that was asked for does not exist or is not the client's.", "invalid_scope"
)
