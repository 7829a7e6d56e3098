"""Mend and resend: the failed records of an import, edited in place, checked, and sent as a new import."""

import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

from aiohttp import web

from services.portal.domain.fault_texts import describe_fault
from services.portal.domain.jobs import describe_job
from services.portal.domain.mending import DraftState
from services.portal.flows.mend_records import Deps, check_page, load_page, send_ready
from services.portal.http.files import mending_url
from services.portal.http.jobs import BASE, JobPages
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit
from services.portal.ports import DraftStore, LinkStore
from tillstream import InvalidRequestError

SCOPE = "status:read"
MAX_BYTES = 2 << 20
_FIELD = re.compile(r"r([0-9]{1,7})(/.*|)")
STATES = {
    DraftState.FAULTY: ("To be mended", "bad"),
    DraftState.READY: ("Ready to send", "good"),
    DraftState.SENDING: ("Being sent", "info"),
    DraftState.SENT: ("Sent", "neutral"),
}


class MendingPages:
    """The grid of failed records."""

    def __init__(self, pages: Pages, *, drafts: DraftStore, links: LinkStore, now_us: Callable[[], int]) -> None:
        self._pages = pages
        self._drafts = drafts
        self._links = links
        self._now_us = now_us

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        path = BASE + "/{jobId}/mend"
        return [
            self._pages.get(path, self.show, scope=SCOPE),
            self._pages.post(path, self.act, scope=SCOPE, max_bytes=MAX_BYTES),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """A page of failed records as forms."""
        job = await JobPages.find_job(visit)
        token = visit.query.get("page") or None
        deps = self._deps(visit)
        back = ("Back to the import", f"{BASE}/{job.id}")
        try:
            page = await load_page(visit.session.grant.site, job.id, token, deps)
        except InvalidRequestError as error:
            raise PageError(400, "This page of the records is gone", "Begin at the first one.", back=back) from error
        address = f"{BASE}/{job.id}/mend"
        return self._pages.page(
            visit,
            "mend.html",
            job=describe_job(page.job),
            page=page,
            token=token or "",
            address=address,
            next_url=f"{address}?{urlencode({'page': page.next_page_token})}" if page.next_page_token else None,
            states=STATES,
            describe_fault=describe_fault,
            links=await self._links.mended_by(visit.session.grant.site, job.id),
            upload_url=mending_url(job=job.id),
            sent=_count(visit.query.get("sent")),
            refused=_count(visit.query.get("refused")),
        )

    async def act(self, visit: Visit) -> web.StreamResponse:
        """Check what was edited, and send what is ready."""
        job = await JobPages.find_job(visit)
        kind = "orders:write" if job.kind == "Orders" else "returns:write"
        if not visit.session.may(kind):
            detail = f"Your client lacks the right “{kind}”, which sending needs. Ask your administrator for it."
            raise PageError(403, "Not allowed", detail, back=("Back to the import", f"{BASE}/{job.id}"))
        deps = self._deps(visit)
        site, token = visit.session.grant.site, visit.form.get("page") or None
        await check_page(site, job.id, token, parse_edits(visit.form), deps)
        query = {"page": token} if token else {}
        if visit.form.get("action") == "send":
            sent = await send_ready(site, job.id, deps)
            query |= {"sent": str(sent.records), "refused": str(sent.refused)}
        raise web.HTTPSeeOther(f"{BASE}/{job.id}/mend" + (f"?{urlencode(query)}" if query else ""))

    def _deps(self, visit: Visit) -> Deps:
        client = visit.client
        return Deps(
            jobs=client.jobs, imports=client.imports, drafts=self._drafts, links=self._links, now_us=self._now_us
        )


def parse_edits(form: Mapping[str, str]) -> dict[int, dict[str, str]]:
    """Return the texts of a form by record and JSON pointer."""
    edits: dict[int, dict[str, str]] = {}
    for name, text in form.items():
        if match := _FIELD.fullmatch(name):
            edits.setdefault(int(match[1]), {})[match[2]] = text
    return edits


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 9 else None
