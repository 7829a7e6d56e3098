"""What readers see instead of a page: what happened, and what to do next."""

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from services.chassis.runtime.errors import Problem, UnavailableError
from services.portal import metrics
from services.portal.http.forms import ForgedRequestError, FormError
from services.portal.http.visits import PageError, not_found
from tillstream import InvalidRequestError, NotAllowedError, NotFoundError, RateLimitedError, TillstreamError

DEFECT = PageError(
    500,
    "Something went wrong",
    "This is our fault, not yours. Try again; if it happens again, report the number below.",
)
RETRY_AFTER_S = 2


def describe(error: Exception) -> PageError:
    """Return the page of an error; `DEFECT` for one that nobody expects."""
    for types, describe_one in _KNOWN:
        if isinstance(error, types):
            return describe_one(error)
    return DEFECT


def _rate_limited(error: Any) -> PageError:
    wait_s = max(int(error.retry_after_s or 1), 1)
    detail = f"Your site has used up its limit of requests. Try again in {wait_s} s."
    return PageError(429, "Too many requests", detail, retry_after_s=wait_s)


def _invalid(error: Any) -> PageError:
    return PageError(400, "This cannot be shown", f"{error.detail[:1].upper()}{error.detail[1:].rstrip('.')}.")


def _not_allowed(error: Any) -> PageError:
    detail = error.detail[:1].upper() + error.detail[1:].rstrip(".")
    return PageError(403, "Not allowed", f"{detail}. Ask your administrator.")


def _unavailable(error: Exception) -> PageError:
    metrics.API_ERRORS.labels(type(error).__name__).inc()
    detail = "A part of the system does not answer. Nothing is lost; try again in a moment."
    return PageError(503, "Temporarily not available", detail, retry_after_s=RETRY_AFTER_S)


def _forged(_error: Exception) -> PageError:
    detail = "The form was not sent from a page of this portal, or is too old. Open the page again and retry."
    return PageError(403, "This form has expired", detail)


# The first that fits.
_KNOWN: Sequence[tuple[type[Exception] | tuple[type[Exception], ...], Callable[[Any], PageError]]] = (
    (PageError, lambda error: error),
    ((web.HTTPNotFound, NotFoundError), lambda _error: not_found("page")),
    (ForgedRequestError, _forged),
    (FormError, lambda _: PageError(400, "This form cannot be read", "Open the page again and send it once more.")),
    (RateLimitedError, _rate_limited),
    (InvalidRequestError, _invalid),
    (NotAllowedError, _not_allowed),
    ((UnavailableError, TillstreamError), _unavailable),
    (Problem, lambda error: PageError(error.status, "This request was refused", f"{error.detail.capitalize()}.")),
)
