"""Pages for operators: clients, their secrets and rights, and revoking tokens."""

from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from services.portal.domain.administration import SCOPES, ClientView, parse_words
from services.portal.domain.session import ADMIN_SCOPE
from services.portal.http.operator import BASE, AdministrationOf
from services.portal.http.outcomes import once, sentence_of
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from tillstream import ConflictError, InvalidRequestError, NotFoundError

CLIENTS = BASE + "/clients"
BACK = ("Clients", CLIENTS)
MAX_GRACE_HOURS = 9_999


class ClientPages:
    """The pages of clients."""

    def __init__(self, pages: Pages, administration_of: AdministrationOf) -> None:
        """`administration_of` returns the admin API with the token of a session."""
        self._pages, self._of = pages, administration_of

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        one, pages = CLIENTS + "/{client}", self._pages
        return [
            pages.get(CLIENTS, self.list, scope=ADMIN_SCOPE),
            pages.post(CLIENTS, self.add, scope=ADMIN_SCOPE),
            pages.get(BASE + "/new-client", self.new, scope=ADMIN_SCOPE),
            pages.post(BASE + "/revocations", self.revoke_token, scope=ADMIN_SCOPE),
            pages.get(one, self.show, scope=ADMIN_SCOPE),
            pages.post(one, self.change, scope=ADMIN_SCOPE),
            pages.post(one + "/secrets", self.add_secret, scope=ADMIN_SCOPE),
            pages.post(one + "/secrets/{secret}/remove", self.remove_secret, scope=ADMIN_SCOPE),
            pages.post(one + "/revoke", self.revoke, scope=ADMIN_SCOPE),
            pages.get(one + "/disable", self.ask_to_disable, scope=ADMIN_SCOPE),
            pages.post(one + "/disable", self.disable, scope=ADMIN_SCOPE),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """All clients, or those of a site."""
        clients = await self._of(visit.session).clients()
        site = visit.query.get("site", "")
        shown = [client for client in clients if site in {"", str(client.site)}]
        is_revoked = "revoked" in visit.query
        return self._pages.page(visit, "clients.html", clients=shown, site=site, is_revoked=is_revoked)

    async def new(self, visit: Visit) -> web.StreamResponse:
        """A form for a new client."""
        fields = {"site": visit.query.get("site", "")}
        return self._new_form(visit, fields, [scope for scope in SCOPES if scope != ADMIN_SCOPE])

    async def add(self, visit: Visit) -> web.StreamResponse:
        """Add a client, and show its secret: this once."""
        form = visit.form
        site = form.get("site", "").strip() or "0"
        scopes = _scopes(form)
        if not scopes:
            return self._new_form(visit, form, scopes, problem="Choose at least one right.")
        client = {
            "clientId": form.get("clientId", "").strip(),
            "site": int(site) if site.isascii() and site.isdigit() else site,
            "apiKeys": parse_words(form.get("apiKeys", "")),
            "scopes": scopes,
        }
        try:
            added = self._of(visit.session).add_client(client)
            secret = await once(added, "look whether the client is in the list", back=BACK)
        except (InvalidRequestError, ConflictError, NotFoundError) as error:
            return self._new_form(visit, form, scopes, problem=sentence_of(error))
        return self._secret(visit, str(client["clientId"]), secret, is_new=True)

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One client."""
        return self._show(visit, await self._find(visit))

    async def change(self, visit: Visit) -> web.StreamResponse:
        """Change its API keys and rights."""
        client = await self._find(visit)
        _refuse_own(visit, client)
        change = {"apiKeys": parse_words(visit.form.get("apiKeys", "")), "scopes": _scopes(visit.form)}
        try:
            await self._of(visit.session).change_client(client.client_id, change)
        except (InvalidRequestError, ConflictError) as error:
            return self._show(visit, client, problem=sentence_of(error))
        raise _to(client)

    async def add_secret(self, visit: Visit) -> web.StreamResponse:
        """Give it a further secret, and show that: this once."""
        client = await self._find(visit)
        text = visit.form.get("graceHours", "").strip()
        is_number = text.isascii() and text.isdigit() and int(text) <= MAX_GRACE_HOURS
        if text and not is_number:
            problem = f"The hours are a whole number of at most {MAX_GRACE_HOURS:,}."
            return self._show(visit, client, problem=problem)
        grace_hours = int(text) if text else None
        try:
            added = self._of(visit.session).add_secret(client.client_id, grace_hours=grace_hours)
            what_to_do = "look at the client’s secrets, and remove the one that was not shown"
            secret = await once(added, what_to_do, back=BACK)
        except (InvalidRequestError, ConflictError) as error:
            return self._show(visit, client, problem=sentence_of(error))
        return self._secret(visit, client.client_id, secret, is_new=False)

    async def remove_secret(self, visit: Visit) -> web.StreamResponse:
        """Remove a secret at once."""
        client = await self._find(visit)
        try:
            await self._of(visit.session).remove_secret(client.client_id, visit.request.match_info["secret"])
        except (NotFoundError, ConflictError) as error:
            return self._show(visit, client, problem=sentence_of(error))
        raise _to(client)

    async def revoke(self, visit: Visit) -> web.StreamResponse:
        """Revoke all its tokens."""
        client = await self._find(visit)
        await self._of(visit.session).revoke_client(client.client_id)
        raise _to(client, "?revoked")

    async def revoke_token(self, visit: Visit) -> web.StreamResponse:
        """Revoke one token, of any client."""
        token_id = visit.form.get("token", "").strip()
        if not token_id:
            raise PageError(400, "Which token?", "Enter the token’s id, as the audit log has it.", back=BACK)
        try:
            await self._of(visit.session).revoke_token(token_id)
        except (InvalidRequestError, ConflictError, NotFoundError) as error:
            raise PageError(error.status, "The token was not revoked", sentence_of(error), back=BACK) from error
        raise web.HTTPSeeOther(f"{CLIENTS}?revoked")

    async def ask_to_disable(self, visit: Visit) -> web.StreamResponse:
        """Ask whether the client is to be disabled."""
        client = await self._find(visit)
        _refuse_own(visit, client)
        return self._pages.page(visit, "client_disable.html", client=client, address=_address(client))

    async def disable(self, visit: Visit) -> web.StreamResponse:
        """Take all rights from the client, and revoke its tokens."""
        client = await self._find(visit)
        _refuse_own(visit, client)
        administration = self._of(visit.session)
        await administration.change_client(client.client_id, {"scopes": []})
        await administration.revoke_client(client.client_id)
        raise _to(client)

    async def _find(self, visit: Visit) -> ClientView:
        try:
            return await self._of(visit.session).client(visit.request.match_info["client"])
        except NotFoundError:
            raise not_found("client", back=BACK) from None

    def _show(self, visit: Visit, client: ClientView, *, problem: str = "") -> web.StreamResponse:
        return self._pages.page(
            visit,
            "client.html",
            status=400 if problem else 200,
            client=client,
            scopes=SCOPES,
            address=_address(client),
            is_own=client.client_id == visit.session.client_id,
            is_revoked="revoked" in visit.query,
            problem=problem,
            back=BACK,
        )

    def _new_form(
        self, visit: Visit, fields: Mapping[str, str], chosen: Sequence[str], *, problem: str = ""
    ) -> web.StreamResponse:
        return self._pages.page(
            visit,
            "client_form.html",
            status=400 if problem else 200,
            fields={name: fields.get(name, "") for name in ("clientId", "site", "apiKeys")},
            chosen=chosen,
            scopes=SCOPES,
            problem=problem,
            back=BACK,
        )

    def _secret(self, visit: Visit, client_id: str, secret: str, *, is_new: bool) -> web.StreamResponse:
        address = f"{CLIENTS}/{client_id}"
        return self._pages.page(
            visit, "client_secret.html", client_id=client_id, secret=secret, is_new=is_new, address=address
        )


def _address(client: ClientView) -> str:
    # Ids of clients need no escaping: letters, digits and `._~-`.
    return f"{CLIENTS}/{client.client_id}"


def _to(client: ClientView, query: str = "") -> web.HTTPSeeOther:
    return web.HTTPSeeOther(_address(client) + query)


def _refuse_own(visit: Visit, client: ClientView) -> None:
    if client.client_id == visit.session.client_id:
        detail = "You are signed in with this client. Sign in with another one to change its rights."
        raise PageError(409, "Not your own client", detail, back=BACK)


def _scopes(form: Mapping[str, Any]) -> list[str]:
    return [scope for scope in SCOPES if f"scope.{scope}" in form]
