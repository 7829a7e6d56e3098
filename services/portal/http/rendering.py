"""Renders templates to responses, with the headers that every page has."""

import gzip
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from services.portal.http.static import StaticFiles, accepts_gzip

TEMPLATES = Path(__file__).parents[1] / "templates"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'"
)
SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    # Paths may name a user. Not `no-referrer`: browsers would then hide the origin of forms.
    "Referrer-Policy": "strict-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
PRIVATE = {hdrs.CACHE_CONTROL: "no-store"}
MIN_COMPRESSED_BYTES = 1_024
_COMPRESSION_LEVEL = 5


@cache
def _load_templates() -> Mapping[str, Template]:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["zip"] = zip
    return {name: environment.get_template(name) for name in environment.list_templates()}


class Renderer:
    """Renders templates of `templates/`: autoescaped, and an undefined name is an error."""

    def __init__(self, static: StaticFiles) -> None:
        self._static = static
        # All of them now: a process that lacks one must not start, and a release must not replace them under it.
        self._templates = _load_templates()

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Return a page."""
        return self._templates[template].render(context, static=self._static.url)

    def respond(
        self,
        request: web.Request,
        template: str,
        context: Mapping[str, Any],
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        """Return a page as a response that no cache keeps."""
        body = self.render(template, context).encode()
        sent = {hdrs.CONTENT_TYPE: "text/html; charset=utf-8", hdrs.VARY: hdrs.ACCEPT_ENCODING, **PRIVATE}
        if len(body) >= MIN_COMPRESSED_BYTES and accepts_gzip(request):
            # The form's token differs on every page, and other sites' requests carry no session.
            body = gzip.compress(body, _COMPRESSION_LEVEL)
            sent[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, status=status, headers=sent | dict(headers or {}))
