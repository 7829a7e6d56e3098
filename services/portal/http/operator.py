"""Pages for operators: sites, and the keys that sign tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aiohttp import web

from services.portal.domain.administration import TEXT_FIELDS, describe_keys, read_site_form, write_api_keys
from services.portal.domain.session import ADMIN_SCOPE, Session
from services.portal.http.outcomes import sentence_of
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from services.portal.ports import Administration
from tillstream import ConflictError, InvalidRequestError, NotFoundError

BASE = "/portal/operator"
SITES, KEYS = BASE + "/sites", BASE + "/keys"
BACK = ("Sites", BASE)
_NEW_SITE: Mapping[str, Any] = {"timeZone": "UTC", "recordsPerSecond": 100, "reportCurrency": "USD", "apiKeys": ()}
_MAX_SITE_DIGITS = 9
AdministrationOf = Callable[[Session], Administration]


class SitePages:
    """The pages of sites and keys."""

    def __init__(
        self, pages: Pages, administration_of: AdministrationOf, *, now_us: Callable[[], int], grafana_url: str | None
    ) -> None:
        """`administration_of` returns the admin API with the token of a session."""
        self._pages, self._of, self._now_us, self._grafana_url = pages, administration_of, now_us, grafana_url

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        pages = self._pages
        return [
            pages.get(BASE, self.list, scope=ADMIN_SCOPE),
            pages.get(SITES + "/new", self.new, scope=ADMIN_SCOPE),
            pages.post(SITES + "/new", self.add, scope=ADMIN_SCOPE),
            pages.get(SITES + "/{site}", self.show, scope=ADMIN_SCOPE),
            pages.post(SITES + "/{site}", self.change, scope=ADMIN_SCOPE),
            pages.get(KEYS, self.keys, scope=ADMIN_SCOPE),
            pages.post(KEYS, self.add_key, scope=ADMIN_SCOPE),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """All sites."""
        sites = await self._of(visit.session).sites()
        return self._pages.page(visit, "sites.html", sites=sites, grafana_url=self._grafana_url)

    async def new(self, visit: Visit) -> web.StreamResponse:
        """A form for a new site."""
        return self._form(visit, None, _to_form(_NEW_SITE))

    async def add(self, visit: Visit) -> web.StreamResponse:
        """Add a site; one that exists is not replaced."""
        number = visit.form.get("site", "").strip()
        if not (number.isascii() and number.isdigit() and len(number) <= _MAX_SITE_DIGITS):
            return self._form(visit, None, visit.form, problem="The site’s number is a whole number.")
        number = str(int(number))
        administration = self._of(visit.session)
        try:
            await administration.site(number)
        except NotFoundError:
            return await self._put(visit, administration, number, {}, is_new=True)
        return self._form(visit, None, visit.form, problem=f"There is a site {number} already.")

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One site, to be changed."""
        number, site = await self._find(visit)
        return self._form(visit, number, _to_form(site))

    async def change(self, visit: Visit) -> web.StreamResponse:
        """Change a site."""
        number, site = await self._find(visit)
        return await self._put(visit, self._of(visit.session), number, site, is_new=False)

    async def _put(
        self, visit: Visit, administration: Administration, number: str, stored: Mapping[str, Any], *, is_new: bool
    ) -> web.StreamResponse:
        site = read_site_form(visit.form, stored) | {"site": int(number)}
        try:
            await administration.put_site(number, site)
        except (InvalidRequestError, ConflictError) as error:
            return self._form(visit, None if is_new else number, visit.form, problem=sentence_of(error))
        raise web.HTTPSeeOther(BASE)

    async def _find(self, visit: Visit) -> tuple[str, Mapping[str, Any]]:
        number = visit.request.match_info["site"]
        try:
            return number, await self._of(visit.session).site(number)
        except NotFoundError:
            raise not_found("site", back=BACK) from None

    def _form(
        self, visit: Visit, number: str | None, fields: Mapping[str, str], *, problem: str = ""
    ) -> web.StreamResponse:
        return self._pages.page(
            visit,
            "site_form.html",
            status=400 if problem else 200,
            number=number,
            fields={name: fields.get(name, "") for name in ("site", "apiKeys", *TEXT_FIELDS)},
            problem=problem,
            action=f"{SITES}/{number or 'new'}",
            back=BACK,
        )

    async def keys(self, visit: Visit) -> web.StreamResponse:
        """The keys that sign tokens."""
        keys = await self._of(visit.session).keys()
        return self._pages.page(visit, "signing_keys.html", keys=describe_keys(keys, now_s=self._now_us() / 1e6))

    async def add_key(self, visit: Visit) -> web.StreamResponse:
        """Add the next key."""
        try:
            await self._of(visit.session).add_key()
        except ConflictError as error:
            raise PageError(409, "No key was added", sentence_of(error), back=("Signing keys", KEYS)) from error
        raise web.HTTPSeeOther(KEYS)


def _to_form(site: Mapping[str, Any]) -> Mapping[str, str]:
    fields = {name: "" if site.get(name) is None else str(site[name]) for name in TEXT_FIELDS}
    return fields | {"apiKeys": write_api_keys(site.get("apiKeys", ())), "site": str(site.get("site", ""))}
