"""Files of sales: the list, and how they are uploaded, with and without JavaScript."""

from collections.abc import AsyncIterator, Mapping, Sequence
from urllib.parse import urlencode

from aiohttp import BodyPartReader, hdrs, web

from services.chassis.http.request_body import read_bounded
from services.chassis.http.responses import json_response
from services.portal.domain.upload import MAX_PIECE_BYTES, RefusedUpload, Upload, WrongOffset, describe_bytes
from services.portal.flows.upload_files import Deps, Sender, append, begin, measure, receive
from services.portal.http.file_responses import MEDIA_TYPES
from services.portal.http.file_states import describe_state, sentence, time_of
from services.portal.http.forms import TOKEN_FIELD, FormError
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from services.portal.ports import ImportStore
from tillstream.template import to_csv, to_xlsx

BASE = "/portal/files"
SCOPE = ("orders:write", "returns:write")
BACK = ("Files", BASE)
TOKEN_HEADER = "X-Form-Token"  # noqa: S105 - the name of a header
PIECE_TIMEOUT_S = 30.0
MAX_SHOWN = 50
MAX_FIELD_BYTES = 512
CHUNK_BYTES = 256 * 1024


class FilePages:
    """The list of files, uploads, templates."""

    def __init__(self, pages: Pages, uploads: Deps, imports: ImportStore) -> None:
        self._pages = pages
        self._deps = uploads
        self._imports = imports

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        pages = self._pages
        return [
            pages.get(BASE, self.list, scope=SCOPE),
            pages.raw("POST", BASE, self.receive, scope=SCOPE),
            pages.post(BASE + "/uploads", self.begin, scope=SCOPE),
            pages.get(BASE + "/template-{kind:orders|returns}.{format:csv|xlsx}", self.template),
            pages.get(BASE + "/{uploadId:[0-9a-f]{32}}/content", self.offset, scope=SCOPE),
            pages.raw("PUT", BASE + "/{uploadId:[0-9a-f]{32}}/content", self.append, scope=SCOPE),
            pages.post(BASE + "/{uploadId:[0-9a-f]{32}}/delete", self.delete, scope=SCOPE),
        ]

    async def list(self, visit: Visit) -> web.StreamResponse:
        """The files of the site, with what was done with them, and a form for the next one."""
        return await self._show(visit)

    async def _show(self, visit: Visit, *, problem: str | None = None, status: int = 200) -> web.Response:
        site = visit.session.grant.site
        all_uploads = await self._deps.uploads.of_site(site)
        uploads = all_uploads[:MAX_SHOWN]
        runs = await self._imports.of_site(site, limit=MAX_SHOWN)
        unfinished = {each.id: await self._deps.uploads.received(each.id) for each in uploads if not each.is_complete}
        return self._pages.page(
            visit,
            "files.html",
            status=status,
            uploads=uploads,
            runs=runs,
            received=unfinished,
            used=sum(each.size for each in all_uploads),
            quota=self._deps.quota_bytes,
            days=self._deps.days,
            describe_bytes=describe_bytes,
            problem=problem,
            describe_state=describe_state,
            time_of=time_of,
            mends_job=visit.query.get("job", "")[:MAX_FIELD_BYTES],
            mends_import=visit.query.get("import", "")[:MAX_FIELD_BYTES],
        )

    async def begin(self, visit: Visit) -> web.StreamResponse:
        """Announce a file that a script sends in pieces."""
        try:
            size = int(visit.form.get("size", ""))
        except ValueError:
            raise FormError from None
        begun = await begin(visit.form.get("name", ""), size, await self._sender(visit, visit.form), self._deps)
        if isinstance(begun, RefusedUpload):
            return json_response({"detail": begun.reason}, status=409)
        return json_response({"path": f"{BASE}/{begun.id}", "offset": 0}, status=201)

    async def offset(self, visit: Visit) -> web.StreamResponse:
        """How far an upload is: where it goes on."""
        upload, received = await measure(await find_upload(visit, self._deps), self._deps)
        return json_response({"offset": received, "isComplete": upload.is_complete})

    async def append(self, visit: Visit) -> web.StreamResponse:
        """The next piece of a file."""
        self._pages.check_form_token(visit, visit.request.headers.get(TOKEN_HEADER, ""))
        upload = await find_upload(visit, self._deps)
        try:
            offset = int(visit.query.get("offset", ""))
        except ValueError:
            raise FormError from None
        piece = await read_bounded(visit.request, max_bytes=MAX_PIECE_BYTES, timeout_s=PIECE_TIMEOUT_S)
        match await append(upload, offset, piece, self._deps):
            case WrongOffset() as wrong:
                return json_response({"offset": wrong.offset, "isComplete": upload.is_complete}, status=409)
            case RefusedUpload() as refused:
                return json_response({"detail": refused.reason}, status=400)
            case Upload() as taken:
                return json_response({"offset": offset + len(piece), "isComplete": taken.is_complete})

    async def receive(self, visit: Visit) -> web.StreamResponse:
        """A whole file, as a form without script sends it. Its fields come first, so that nobody else's is stored."""
        request = visit.request
        if request.content_type != "multipart/form-data":
            self._pages.check_form_token(visit, request.headers.get(TOKEN_HEADER, ""))
            raise FormError
        fields: dict[str, str] = {}
        received: Upload | RefusedUpload | None = None
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                raise FormError
            if part.filename is None:
                fields[part.name or ""] = (await part.read_chunk(MAX_FIELD_BYTES)).decode("utf-8", "replace")
                continue
            self._pages.check_form_token(visit, fields.get(TOKEN_FIELD, ""))
            sender = await self._sender(visit, fields)
            announced = min(request.content_length or 0, 1 << 40)
            if not part.filename:
                received = RefusedUpload("no file was chosen; choose one, then upload it")
                break
            received = await receive(part.filename, _chunks(part), sender, self._deps, announced=announced)
            break
        if received is None:
            received = RefusedUpload("no file was chosen; choose one, then upload it")
        if isinstance(received, RefusedUpload):
            response = await self._show(visit, problem=sentence(received.reason, ""), status=400)
            # The rest of the body is not read.
            response.headers[hdrs.CONNECTION] = "close"
            return response
        raise web.HTTPSeeOther(f"{BASE}/{received.id}")

    async def delete(self, visit: Visit) -> web.StreamResponse:
        """Delete a file; what was imported of it stays."""
        upload = await find_upload(visit, self._deps)
        runs = await self._imports.of_upload(upload.site, upload.id)
        if any(not run.state.is_final for run in runs):
            detail = "It is being checked or imported. Cancel that first, then delete the file."
            raise PageError(409, "This file is in use", detail, back=("Back to the file", f"{BASE}/{upload.id}"))
        await self._deps.uploads.delete(upload.site, upload.id)
        raise web.HTTPSeeOther(BASE)

    async def template(self, visit: Visit) -> web.StreamResponse:
        """A file with all columns and two examples."""
        kind, format_ = visit.request.match_info["kind"], visit.request.match_info["format"]
        body = to_csv(kind) if format_ == "csv" else to_xlsx(kind)
        name = f"template-{kind}.{format_}"
        headers = {"Content-Type": MEDIA_TYPES[format_], "Content-Disposition": f'attachment; filename="{name}"'}
        return web.Response(body=body, headers=headers)

    async def _sender(self, visit: Visit, fields: Mapping[str, str]) -> Sender:
        """Return who sends a file and what it mends: a job or an import of the same site, else nothing."""
        site, job, run = visit.session.grant.site, fields.get("mends_job") or None, fields.get("mends_import") or None
        if run is not None and await self._imports.find(site, run) is None:
            raise not_found("import", back=BACK)
        if job is not None:
            await visit.client.jobs.get(job)
        return Sender(site=site, client_id=visit.session.client_id, mends_job=job, mends_import=run)


async def find_upload(visit: Visit, deps: Deps) -> Upload:
    """Return the upload of the path; raises the 404 of an unknown one, and of another site's."""
    upload = await deps.uploads.find(visit.session.grant.site, visit.request.match_info["uploadId"])
    if upload is None:
        raise not_found("file", back=BACK)
    return upload


def mending_url(*, job: str | None = None, run: str | None = None) -> str:
    """Return the page on which a mended file is uploaded."""
    query = {"job": job} if job else {"import": run or ""}
    return f"{BASE}?{urlencode(query)}#upload"


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(CHUNK_BYTES):
        yield chunk
