"""Signing in by OpenID Connect: to the issuer and back."""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from aiohttp import hdrs, web

from services.portal.domain.openid import PENDING_S, IssuerError
from services.portal.domain.origins import own_path
from services.portal.domain.session import Session
from services.portal.flows import openid_sign_in as flow
from services.portal.flows.openid_sign_in import Begun, Callback, Completed
from services.portal.flows.sign_in import Refusal
from services.portal.http.pages import SIGN_IN, ComeAgainError, Pages
from services.portal.http.visits import PageError

START, CALLBACK = "/portal/sign-in/start", "/portal/sign-in/callback"
# Some issuers send codes that are tokens.
MAX_PARAMETER_CHARACTERS = 4_096
RETRY_AFTER_S = 5
_BACK = ("Sign in", SIGN_IN)
# Status, title, and what to do.
REFUSALS = {
    Refusal.THROTTLED: (429, "Too many failed tries", "Wait a minute, then try again."),
    Refusal.STALE: (
        400,
        "This sign-in cannot be completed",
        "It is too old, was completed before, or was begun in another browser. Begin again.",
    ),
    Refusal.DENIED: (
        403,
        "You are not signed in",
        "Signing in was cancelled, or your organisation refused it. Try again, or ask your administrator.",
    ),
    Refusal.UNVERIFIED: (
        403,
        "This sign-in could not be verified",
        "The answer of your organisation does not hold. Try again; if it happens again, tell your operator.",
    ),
    Refusal.UNMAPPED: (
        403,
        "Your account has no access",
        "Your organisation knows you, but no client is assigned to your account here. Ask your operator for one.",
    ),
    Refusal.NOT_ACCEPTED: (
        403,
        "Your access is no longer valid",
        "The secret of the client that is assigned to your account is not accepted. Tell your operator.",
    ),
    Refusal.NO_RIGHTS: (
        403,
        "Your account has no rights",
        "The client that is assigned to your account may do nothing here. Ask your administrator to give it rights.",
    ),
}


class Button(NamedTuple):
    """What the sign-in page shows."""

    name: str
    url: str


class OpenIdPages:
    """The way to the issuer and back."""

    def __init__(self, pages: Pages, deps: flow.Deps, *, name: str) -> None:
        self._pages, self._deps, self._name = pages, deps, name

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes. No HEAD: it would use up what it asks for."""
        return [
            web.get(START, self._pages.wrap(self.start), allow_head=False),
            web.get(CALLBACK, self._pages.wrap(self.complete), allow_head=False),
        ]

    def button(self, target: str) -> Button:
        """Return the button that begins a sign-in and leads to the target."""
        return Button(self._name, f"{START}?{urlencode({'next': target})}")

    async def sign_out_url(self, session: Session) -> str | None:
        """Return where a person signs out at the issuer, if they have signed in there."""
        return await flow.sign_out_url(session, self._deps)

    async def start(self, request: web.Request) -> web.StreamResponse:
        """Lead to the issuer."""
        target = own_path(request.query.get("next", ""))
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            # Another site must not sign anybody in; people press the button.
            raise web.HTTPSeeOther(f"{SIGN_IN}?{urlencode({'next': target})}")
        cookies = self._pages.cookies
        try:
            begun = await flow.begin(
                target=target,
                cookie=cookies.get(request, cookies.pending),
                replaced=self._pages.session_id_of(request),
                source=self._pages.source_of(request),
                deps=self._deps,
            )
        except IssuerError:
            raise self._issuer_unavailable() from None
        if not isinstance(begun, Begun):
            raise _refused(begun)
        response = web.Response(status=303, headers={hdrs.LOCATION: begun.url, hdrs.CACHE_CONTROL: "no-store"})
        cookies.set_pending(response, begun.cookie, max_age_s=PENDING_S)
        return response

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Begin a session, with a new id whatever cookie came."""
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            # The session that the browser has by now is to be ended, and its cookie comes with a page of ours only.
            raise ComeAgainError
        cookies = self._pages.cookies
        try:
            completed = await flow.complete(
                _parse_callback(request),
                cookie=cookies.get(request, cookies.pending),
                current=self._pages.session_id_of(request),
                source=self._pages.source_of(request),
                deps=self._deps,
            )
        except IssuerError:
            raise self._issuer_unavailable() from None
        if not isinstance(completed, Completed):
            raise _refused(completed)
        # A page, not a redirect: after one, browsers would take the next request for the issuer's, without the cookie.
        response = self._pages.bare_page(request, "go_on.html", title="You are signed in", target=completed.target)
        # The cookie of the begun sign-in stays until it expires: another tab may have begun one, too.
        cookies.set(response, cookies.session, completed.signed_in.cookie)
        cookies.clear(response, cookies.form)
        return response

    def _issuer_unavailable(self) -> PageError:
        detail = (
            f"The sign-in of {self._name} does not answer as it should. Try again in a moment; "
            "if it happens again, tell your operator. With a client id and its secret you can sign in meanwhile."
        )
        title = "Signing in is temporarily not available"
        return PageError(503, title, detail, back=_BACK, retry_after_s=RETRY_AFTER_S)


def _refused(refusal: Refusal) -> PageError:
    status, title, detail = REFUSALS[refusal]
    return PageError(status, title, detail, back=_BACK, retry_after_s=60 if status == 429 else None)


def _parse_callback(request: web.Request) -> Callback:
    """Return the parameters; of a malformed callback without its state, which no sign-in has."""
    query = request.query
    is_valid = len(set(query)) == len(query) and all(len(value) <= MAX_PARAMETER_CHARACTERS for value in query.values())
    has_result = ("code" in query) != ("error" in query)
    return Callback(
        state=query.get("state", "") if is_valid and has_result else "",
        code=query.get("code", ""),
        error=query.get("error", ""),
        issuer=query.get("iss"),
    )
