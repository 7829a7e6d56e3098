"""Pages for developers: keys and limits, the APIs, their operations."""

from collections.abc import Mapping, Sequence

from aiohttp import web

from services.portal.domain.api_catalogue import API_ENTRIES
from services.portal.domain.api_requests import ApiRequest, build_request, changes_data, editable_parameters
from services.portal.domain.api_responses import ApiResponse, show_body
from services.portal.domain.openapi import VALIDATE_ONLY, ApiDocument, Operation
from services.portal.domain.prose import parse_prose
from services.portal.domain.snippets import make_curl, make_python
from services.portal.flows import developers as flow
from services.portal.http.pages import Pages
from services.portal.http.visits import Visit, not_found

BASE = "/portal/developers"
BACK = ("Developers", BASE)
MAX_FORM_BYTES = 512 * 1024
# Fields of parameters begin with this: none can be taken for one of the page's own.
PARAMETER = "p."
# Where auth's admin API is, only operators know.
ADMIN_URL = "https://ADMIN_HOST"


class DeveloperPages:
    """The pages of the APIs."""

    def __init__(self, pages: Pages, deps: flow.Deps) -> None:
        self._pages, self._deps = pages, deps

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        operation = BASE + "/apis/{api}/{operation}"
        return [
            self._pages.get(BASE, self.overview),
            self._pages.get(BASE + "/apis/{api}", self.document),
            self._pages.get(operation, self.operation),
            self._pages.post(operation, self.send, max_bytes=MAX_FORM_BYTES),
        ]

    async def overview(self, visit: Visit) -> web.StreamResponse:
        """What there is: keys, limits, APIs, topics."""
        has_key = bool(visit.session.api_key)
        return self._pages.page(
            visit,
            "developers.html",
            apis=await flow.list_apis(visit.session, self._deps),
            limits=await flow.get_limits(visit.client.imports) if has_key else None,
            base_url=self._deps.base_url,
        )

    async def document(self, visit: Visit) -> web.StreamResponse:
        """One API: its operations."""
        document = await self._find_document(visit)
        return self._pages.page(
            visit, "api_document.html", document=document, label=API_ENTRIES[document.name].label, prose=parse_prose
        )

    async def operation(self, visit: Visit) -> web.StreamResponse:
        """One operation, with a form to try it."""
        document, operation = await self._find_operation(visit)
        given = {name.removeprefix(PARAMETER): value for name, value in visit.query.items()}
        values = flow.initial_values(operation, visit.session, given)
        body = operation.body.examples[0].text if operation.body is not None and operation.body.examples else ""
        return self._show(visit, document, operation, values, body)

    async def send(self, visit: Visit) -> web.StreamResponse:
        """Send the form's request, and show the response below it."""
        document, operation = await self._find_operation(visit)
        if not flow.may_send(document, operation):
            raise not_found("operation", back=BACK)
        names = [each.name for each in editable_parameters(operation)]
        values = {name: visit.form.get(PARAMETER + name, "").strip() for name in names}
        body = visit.form.get("body", "")
        request = build_request(operation, values, body)
        if not isinstance(request, ApiRequest):
            return self._show(visit, document, operation, values, body, problems=request, status=400)
        source = self._pages.source_of(visit.request)
        response = await flow.send(
            document, operation, request, visit.session, values=values, source=source, deps=self._deps
        )
        if isinstance(response, str):
            return self._show(visit, document, operation, values, body, problems=[response], status=502)
        return self._show(visit, document, operation, values, body, response=response)

    def _show(
        self,
        visit: Visit,
        document: ApiDocument,
        operation: Operation,
        values: Mapping[str, str],
        body: str,
        *,
        problems: Sequence[str] = (),
        response: ApiResponse | None = None,
        status: int = 200,
    ) -> web.StreamResponse:
        request, filled = flow.sample_request(operation, values, body)
        base_url = ADMIN_URL if API_ENTRIES[document.name].is_for_operators else self._deps.base_url
        is_dry_run = values.get(VALIDATE_ONLY) == "true"
        return self._pages.page(
            visit,
            "api_operation.html",
            status=status,
            document=document,
            operation=operation,
            back=(document.title, f"{BASE}/apis/{document.name}"),
            parameters=editable_parameters(operation),
            values=values,
            body=body,
            problems=problems,
            response=response,
            shown=None if response is None else show_body(response),
            may_send=flow.may_send(document, operation),
            changes_data=changes_data(operation, values),
            curl=make_curl(base_url, request, has_token=not operation.is_public),
            python=make_python(document.name, operation.id, base_url, request, filled, is_dry_run=is_dry_run),
            prose=parse_prose,
        )

    async def _find_document(self, visit: Visit) -> ApiDocument:
        entry = API_ENTRIES.get(visit.request.match_info["api"])
        if entry is None or not flow.may_see(entry, visit.session):
            raise not_found("API", back=BACK)
        return await self._deps.documents.get(entry.name)

    async def _find_operation(self, visit: Visit) -> tuple[ApiDocument, Operation]:
        document = await self._find_document(visit)
        operation = document.find(visit.request.match_info["operation"])
        if operation is None:
            raise not_found("operation", back=(document.title, f"{BASE}/apis/{document.name}"))
        return document, operation
