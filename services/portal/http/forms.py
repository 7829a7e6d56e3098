"""Forms: that no other site has sent one, and what is in it."""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from aiohttp import hdrs, web

from services.chassis.http.request_body import read_bounded
from services.portal import metrics
from services.portal.domain.origins import is_loopback

TOKEN_FIELD = "form_token"  # noqa: S105 - the name of a field
MAX_FORM_BYTES = 256 * 1024
MAX_FIELDS = 2_000
BODY_TIMEOUT_S = 10.0
_NONCE_BYTES = 12
_FORM = "application/x-www-form-urlencoded"


class ForgedRequestError(Exception):
    """The request may come from another site."""


class FormError(Exception):
    """The body is not a form, or too large."""


class FormGuard:
    """Judges requests that change something: by `Origin`, by `Sec-Fetch-Site`, and by the form's token."""

    def __init__(self, portal_url: str) -> None:
        self._origin = portal_url
        parts = urlsplit(portal_url)
        self._loopback_port = parts.port if is_loopback(parts.hostname or "") else None

    def check_origin(self, request: web.Request) -> None:
        """Raise `ForgedRequestError` unless the browser says that the request comes from our own pages."""
        site = request.headers.get("Sec-Fetch-Site")
        origin = request.headers.get(hdrs.ORIGIN)
        if (site is None and origin is None) or (site is not None and site != "same-origin"):
            raise _forged()
        if origin is not None and not self._is_own(origin):
            raise _forged()

    def _is_own(self, origin: str) -> bool:
        if origin == self._origin:
            return True
        parts = urlsplit(origin)
        # The same machine under another name: 127.0.0.1, localhost.
        return (
            self._loopback_port is not None
            and parts.scheme == "http"
            and is_loopback(parts.hostname or "")
            and parts.port == self._loopback_port
        )


def make_token(cookie: str) -> str:
    """Return a token for a form: another one for each page, so that compression tells nothing about it."""
    nonce = secrets.token_hex(_NONCE_BYTES)
    return f"{nonce}.{_sign(nonce, cookie)}"


def check_token(token: str, cookie: str | None) -> None:
    """Raise `ForgedRequestError` unless the token was made for this cookie."""
    nonce, _, signature = token.partition(".")
    if cookie is None or not hmac.compare_digest(_sign(nonce, cookie).encode(), signature.encode()):
        raise _forged()


def _sign(nonce: str, cookie: str) -> str:
    return hmac.new(cookie.encode(), f"form token {nonce}".encode(), hashlib.sha256).hexdigest()


def _forged() -> ForgedRequestError:
    metrics.FORGED.inc()
    return ForgedRequestError()


async def read_form(request: web.Request, *, max_bytes: int = MAX_FORM_BYTES) -> Mapping[str, str]:
    """Return the fields of a form; of a repeated one the last. Raises `FormError`, and a 408 or 413."""
    if request.content_type != _FORM:
        raise FormError
    body = await read_bounded(request, max_bytes=max_bytes, timeout_s=BODY_TIMEOUT_S)
    try:
        fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise FormError from None
    return dict(fields)
