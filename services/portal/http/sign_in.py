"""Signing in and out."""

import secrets
from collections.abc import Sequence

from aiohttp import hdrs, web

from services.portal.domain.origins import own_path
from services.portal.flows import sign_in as flow
from services.portal.flows.sign_in import Refusal, SignedIn
from services.portal.http.forms import TOKEN_FIELD, check_token, make_token, read_form
from services.portal.http.openid import OpenIdPages
from services.portal.http.pages import SIGN_IN, ComeAgainError, Pages
from services.portal.http.visits import Visit

SIGN_OUT = "/portal/sign-out"
_NONCE_BYTES = 32
# What the page says, by `reason` in its address.
NOTICES = {
    "signed-out": "You are signed out, in all tabs.",
    "ended": "Your session has ended. Sign in to go on.",
    "revoked": "Your credentials are no longer accepted. Sign in with the current secret.",
}
REFUSALS = {
    Refusal.WRONG: (401, "The client id or the secret is not right."),
    Refusal.THROTTLED: (429, "Too many failed tries. Wait a minute, then try again."),
    Refusal.NO_RIGHTS: (403, "This client has no rights here. Ask your administrator to give it some."),
}


class SignInPages:
    """The pages of signing in and out."""

    def __init__(self, pages: Pages, openid: OpenIdPages | None) -> None:
        self._pages, self._openid = pages, openid

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        return [
            web.get(SIGN_IN, self._pages.wrap(self.show)),
            web.post(SIGN_IN, self._pages.wrap(self.sign_in)),
            self._pages.post(SIGN_OUT, self.sign_out),
        ]

    async def show(self, request: web.Request) -> web.StreamResponse:
        """The form."""
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # Without the cookie, which browsers withhold, this page would tell all tabs that nobody is signed in.
            raise ComeAgainError
        target = own_path(request.query.get("next", ""))
        if await self._pages.find_session(request) is not None:
            raise web.HTTPSeeOther(target)
        return self._form(request, target=target, notice=NOTICES.get(request.query.get("reason", "")))

    def _form(
        self,
        request: web.Request,
        *,
        target: str,
        notice: str | None = None,
        problem: str | None = None,
        client_id: str = "",
        status: int = 200,
    ) -> web.Response:
        cookies = self._pages.cookies
        nonce = cookies.get(request, cookies.form) or secrets.token_urlsafe(_NONCE_BYTES)
        response = self._pages.bare_page(
            request,
            "sign_in.html",
            status=status,
            form_token=make_token(nonce),
            target=target,
            notice=notice,
            problem=problem,
            client_id=client_id,
            openid=None if self._openid is None else self._openid.button(target),
        )
        cookies.set(response, cookies.form, nonce)
        return response

    async def sign_in(self, request: web.Request) -> web.StreamResponse:
        """Begin a session, with a new id whatever cookie came."""
        cookies = self._pages.cookies
        self._pages.guard.check_origin(request)
        form = await read_form(request)
        check_token(form.get(TOKEN_FIELD, ""), cookies.get(request, cookies.form))
        client_id, target = form.get("client_id", "").strip(), own_path(form.get("next", ""))
        outcome = await flow.sign_in(
            client_id,
            form.get("client_secret", "").strip(),
            source=self._pages.source_of(request),
            deps=self._pages.sessions,
            replaced=self._pages.session_id_of(request),
        )
        if not isinstance(outcome, SignedIn):
            status, problem = REFUSALS[outcome]
            return self._form(request, target=target, problem=problem, client_id=client_id, status=status)
        response = web.Response(status=303, headers={hdrs.LOCATION: target, hdrs.CACHE_CONTROL: "no-store"})
        cookies.set(response, cookies.session, outcome.cookie)
        cookies.clear(response, cookies.form)
        return response

    async def sign_out(self, visit: Visit) -> web.StreamResponse:
        """End the session."""
        await flow.sign_out(visit.session, source=self._pages.source_of(visit.request), deps=self._pages.sessions)
        url = None if self._openid is None else await self._openid.sign_out_url(visit.session)
        if url is None:
            headers = {hdrs.LOCATION: f"{SIGN_IN}?reason=signed-out", hdrs.CACHE_CONTROL: "no-store"}
            response = web.Response(status=303, headers=headers)
        else:
            # A page, not a redirect: `form-action` forbids that a form leads to another site.
            response = self._pages.bare_page(visit.request, "go_on.html", title="You are signed out here", target=url)
        self._pages.cookies.clear(response, self._pages.cookies.session)
        return response
