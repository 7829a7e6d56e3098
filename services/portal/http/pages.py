"""What all pages share: the session, protection of forms, errors that people can read, headers."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import quote

from aiohttp import hdrs, web

from services.chassis.http.responses import REQUEST_ID
from services.chassis.http.source_address import Networks, get_source_address
from services.chassis.runtime.errors import StartingError, UnavailableError
from services.chassis.runtime.logs import logger
from services.chassis.runtime.time_zones import load_time_zone
from services.portal.domain.session import Session
from services.portal.flows import sign_in as sessions
from services.portal.http.cookies import Cookies
from services.portal.http.errors import DEFECT, describe
from services.portal.http.formats import Formats, parse_locale
from services.portal.http.forms import TOKEN_FIELD, FormGuard, check_token, make_token, read_form
from services.portal.http.navigation import active_path, visible_items
from services.portal.http.rendering import HSTS, SECURITY_HEADERS, Renderer
from services.portal.http.visits import PageError, Visit
from tillstream import AsyncClient, NotAllowedError

HOME, SIGN_IN = "/portal/", "/portal/sign-in"
# Sent by our scripts: a page that refreshes itself does not keep a session alive.
BACKGROUND_HEADER = "X-Portal-Background"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PageHandler = Callable[[Visit], Awaitable[web.StreamResponse]]
# One that is needed, or several of which one is enough.
Scope = str | tuple[str, ...]
_LOG = logger(__name__)


class Pages:
    """Wraps handlers of pages: `get` and `post` make routes of them, for those who are signed in."""

    def __init__(
        self,
        *,
        sessions_deps: sessions.Deps,
        client_of: Callable[[Session], AsyncClient],
        renderer: Renderer,
        cookies: Cookies,
        guard: FormGuard,
        proxies: Networks,
        is_https: bool,
        is_started: Callable[[], bool],
    ) -> None:
        self.sessions = sessions_deps
        self.cookies = cookies
        self.guard = guard
        self._client_of = client_of
        self._renderer = renderer
        self._proxies = proxies
        self._headers = SECURITY_HEADERS | (HSTS if is_https else {})
        self._is_started = is_started

    def get(self, path: str, handler: PageHandler, *, scope: Scope = ()) -> web.RouteDef:
        """Return a route of a page; who has none of its scopes is told what is missing."""

        async def respond(request: web.Request) -> web.StreamResponse:
            visit = await self._visit(request)
            _require(visit.session, scope)
            return await handler(visit)

        return web.get(path, self.wrap(respond))

    def post(self, path: str, handler: PageHandler, *, scope: Scope = (), max_bytes: int | None = None) -> web.RouteDef:
        """Return a route of a form; the handler gets its fields in `visit.form`."""

        async def respond(request: web.Request) -> web.StreamResponse:
            self.guard.check_origin(request)
            options = {} if max_bytes is None else {"max_bytes": max_bytes}
            form = await read_form(request, **options)
            check_token(form.get(TOKEN_FIELD, ""), self.cookies.get(request, self.cookies.session))
            visit = await self._visit(request, form)
            _require(visit.session, scope)
            return await handler(visit)

        return web.post(path, self.wrap(respond))

    def raw(self, method: str, path: str, handler: PageHandler, *, scope: Scope = ()) -> web.RouteDef:
        """Return a route whose handler reads the body itself, and calls `check_form_token` before it trusts it."""

        async def respond(request: web.Request) -> web.StreamResponse:
            self.guard.check_origin(request)
            visit = await self._visit(request)
            _require(visit.session, scope)
            return await handler(visit)

        return web.route(method, path, self.wrap(respond))

    def check_form_token(self, visit: Visit, token: str) -> None:
        """Raise `ForgedRequestError` unless the token is of a page of this session."""
        check_token(token, self.cookies.get(visit.request, self.cookies.session))

    def wrap(self, handler: Handler) -> Handler:
        """Return the handler with the headers of every response, and with errors as pages."""

        async def respond(request: web.Request) -> web.StreamResponse:
            try:
                self._require_started()
                response = await handler(request)
            except web.HTTPRedirection as redirection:
                location = redirection.headers[hdrs.LOCATION]
                response = web.Response(status=redirection.status, headers={hdrs.LOCATION: location})
            except Exception as error:
                if isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing()):
                    raise  # the browser has gone
                response = await self._error_response(request, error)
            if not response.prepared:
                response.headers.update(self._headers)
            return response

        return respond

    def _require_started(self) -> None:
        if not self._is_started():
            raise StartingError("the portal")

    async def _visit(self, request: web.Request, form: Mapping[str, str] | None = None) -> Visit:
        cookie = self.cookies.get(request, self.cookies.session)
        session = None if cookie is None else await self.find_session(request)
        if cookie is None or session is None:
            self._ask_to_sign_in(request)
        return Visit(
            request=request,
            session=session,
            client=self._client_of(session),
            formats=formats_of(request, session),
            form_token=make_token(cookie),
            form=form or {},
        )

    async def find_session(self, request: web.Request) -> Session | None:
        """Return the session of a request, if it has one; raises `UnavailableError`."""
        cookie = self.cookies.get(request, self.cookies.session)
        if cookie is None:
            return None
        is_used = BACKGROUND_HEADER not in request.headers
        return await sessions.find_session(cookie, self.sessions, is_used=is_used)

    def session_id_of(self, request: web.Request) -> str | None:
        """Return the id of the session that a request's cookie stands for, whether it has ended or not."""
        cookie = self.cookies.get(request, self.cookies.session)
        return None if cookie is None else sessions.session_id_of(cookie)

    @staticmethod
    def _ask_to_sign_in(request: web.Request) -> NoReturn:
        if BACKGROUND_HEADER in request.headers:
            raise PageError(401, "You are signed out", "Sign in to go on.", back=("Sign in", SIGN_IN))
        if request.headers.get("Sec-Fetch-Site") == "cross-site" and request.method == "GET":
            # A link on another site: browsers withhold the cookie until a page of ours asks again.
            raise ComeAgainError
        is_page = request.method == "GET" and request.path != HOME
        target = f"?next={quote(request.rel_url.raw_path_qs, safe='')}" if is_page else ""
        raise web.HTTPSeeOther(SIGN_IN + target)

    def page(
        self,
        visit: Visit,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> web.Response:
        """Return a page of somebody who is signed in. Templates also have `visit`, `fmt`, `nav` and `active`."""
        shared = {
            "visit": visit,
            "fmt": visit.formats,
            "nav": visible_items(visit.session),
            "active": active_path(visit.request.path),
            "form_token": visit.form_token,
        }
        return self._renderer.respond(visit.request, template, shared | context, status=status, headers=headers)

    def bare_page(
        self,
        request: web.Request,
        template: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> web.Response:
        """Return a page without navigation."""
        return self._renderer.respond(request, template, context, status=status, headers=headers)

    def source_of(self, request: web.Request) -> str:
        """Return the address that a request comes from."""
        return get_source_address(request, self._proxies)

    async def _error_response(self, request: web.Request, error: Exception) -> web.Response:
        if isinstance(error, ComeAgainError):
            return self.bare_page(request, "come_again.html", target=request.rel_url.raw_path_qs)
        if isinstance(error, NotAllowedError) and error.status == 401:
            return await self._end_session(request)
        shown = describe(error)
        if shown is DEFECT:
            _LOG.error("page failed", method=request.method, exc_info=error)
        headers = {} if shown.retry_after_s is None else {"Retry-After": str(shown.retry_after_s)}
        request_id = request[REQUEST_ID] if shown.status >= 500 else None
        return self.bare_page(
            request, "error.html", status=shown.status, headers=headers, error=shown, request_id=request_id
        )

    async def _end_session(self, request: web.Request) -> web.Response:
        """Answer a request whose client's secret was replaced, or whose client was deleted."""
        try:
            session = await self.find_session(request)
            if session is not None:
                await sessions.end_refused_session(session, source=self.source_of(request), deps=self.sessions)
        except UnavailableError:
            pass
        response = web.Response(status=303, headers={hdrs.LOCATION: f"{SIGN_IN}?reason=revoked"})
        self.cookies.clear(response, self.cookies.session)
        return response


class ComeAgainError(Exception):
    """The page must be asked for once more, by a page of ours."""


def _require(session: Session, scope: Scope) -> None:
    scopes = (scope,) if isinstance(scope, str) else scope
    if scopes and not session.may(*scopes):
        raise missing_right(*scopes)


def missing_right(*scopes: str) -> PageError:
    """Return the error of a client that has none of these scopes."""
    rights = " or ".join(f"“{scope}”" for scope in scopes)
    detail = f"Your client lacks the right {rights}. Ask your administrator for it, or sign in as another client."
    return PageError(403, "Not allowed", detail)


def formats_of(request: web.Request, session: Session | None) -> Formats:
    """Return how the reader of a request sees numbers and times."""
    zone_name = session.grant.time_zone if session is not None else "UTC"
    zone = load_time_zone(zone_name)
    return Formats(parse_locale(request.headers.get(hdrs.ACCEPT_LANGUAGE, "")), zone, zone_name)


def routes_of(*groups: Sequence[web.RouteDef]) -> list[web.RouteDef]:
    """Return all routes."""
    return [route for group in groups for route in group]
