"""Error responses of the OAuth endpoints (RFC 6749, 5.2)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthError:
    """An error response. `reason` is more specific than `error`, for metrics and the audit log only."""

    error: str
    description: str
    reason: str
    status: int = 400
    retry_after_s: int | None = None


def invalid_request(description: str, *, reason: str = "invalid_request") -> OAuthError:
    """Return the error for a malformed request."""
    return OAuthError(error="invalid_request", description=description, reason=reason)


def invalid_client(*, reason: str = "invalid_client") -> OAuthError:
    """Return the error for an unknown client or a wrong secret; the response does not say which."""
    return OAuthError(
        error="invalid_client", description="The client id or the secret is not right.", reason=reason, status=401
    )


def too_many_attempts(retry_after_s: int) -> OAuthError:
    """Return the error for too many failed attempts."""
    return OAuthError(
        error="temporarily_unavailable",
        description="Too many failed tries; wait before the next one.",
        reason="too_many_attempts",
        status=429,
        retry_after_s=retry_after_s,
    )


def unavailable(retry_after_s: int) -> OAuthError:
    """Return the error while a dependency is unavailable."""
    return OAuthError(
        error="temporarily_unavailable",
        description="Tokens cannot be issued just now; try again.",
        reason="unavailable",
        status=503,
        retry_after_s=retry_after_s,
    )


UNSUPPORTED_GRANT_TYPE = OAuthError(
    error="unsupported_grant_type",
    description="The only grant type is client_credentials.",
    reason="unsupported_grant_type",
)
UNAUTHORIZED_CLIENT = OAuthError(
    error="unauthorized_client", description="The client may not use this API.", reason="unauthorized_client"
)
INVALID_SCOPE = OAuthError(
    error="invalid_scope",
    description="A scope that was asked for does not exist or is not the client's.",
    reason="invalid_scope",
)
