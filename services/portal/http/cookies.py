"""Cookies of the portal: the session's, and those that bind a sign-in to its browser."""

from aiohttp import web

MAX_COOKIE_CHARACTERS = 128


class Cookies:
    """Reads and sets cookies: HttpOnly, SameSite=Strict and, with https, `Secure` with the prefix `__Host-`.

    Over plain http, on loopback addresses only, browsers refuse the prefix.
    """

    def __init__(self, *, is_https: bool) -> None:
        self._is_https = is_https
        prefix = "__Host-" if is_https else ""
        self.session, self.form = f"{prefix}portal-session", f"{prefix}portal-form"
        # Of a sign-in by OpenID Connect: sent when the browser comes back from the issuer, another site.
        self.pending = f"{prefix}portal-sign-in"

    def get(self, request: web.Request, name: str) -> str | None:
        """Return a cookie's value if it can be one of ours."""
        value = request.cookies.get(name)
        return value if value and value.isascii() and len(value) <= MAX_COOKIE_CHARACTERS else None

    def set(self, response: web.StreamResponse, name: str, value: str) -> None:
        """Set a cookie that lasts as long as the browser runs."""
        response.set_cookie(name, value, path="/", secure=self._is_https, httponly=True, samesite="Strict")

    def set_pending(self, response: web.StreamResponse, value: str, *, max_age_s: int) -> None:
        """Set the cookie of a begun sign-in. SameSite=Lax: the way back is a navigation from another site."""
        response.set_cookie(
            self.pending, value, path="/", secure=self._is_https, httponly=True, samesite="Lax", max_age=max_age_s
        )

    def clear(self, response: web.StreamResponse, name: str) -> None:
        """Delete a cookie."""
        response.del_cookie(name, path="/", secure=self._is_https, httponly=True, samesite="Strict")
