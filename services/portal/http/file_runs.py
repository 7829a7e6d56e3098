"""Checks and imports of files: how far they are, what failed, and what their owner does with them."""

from collections.abc import Sequence

from aiohttp import web

from services.portal.domain.fault_texts import describe_fault
from services.portal.domain.file_import import FileImport, Purpose, Wish
from services.portal.flows import start_imports
from services.portal.http.file_responses import MEDIA_TYPES
from services.portal.http.file_settings import credentials_of, require_kind
from services.portal.http.file_states import describe_state, duration, sentence
from services.portal.http.files import BASE, SCOPE, mending_url
from services.portal.http.pages import Pages
from services.portal.http.rendering import SECURITY_HEADERS
from services.portal.http.visits import PageError, Visit, not_found
from services.portal.ports import BatchLog, FileReader, ImportStore, UploadStore
from tillstream.sources.records import SourceError

MAX_GROUPS = 20
MAX_JOBS = 50
CHUNK_BYTES = 256 * 1024
WISHES = {"pause": Wish.PAUSE, "resume": Wish.RUN, "cancel": Wish.CANCEL}


class FileRunPages:
    """The pages of checks and imports."""

    def __init__(
        self,
        pages: Pages,
        *,
        imports: ImportStore,
        uploads: UploadStore,
        log: BatchLog,
        reader: FileReader,
        start_deps: start_imports.Deps,
    ) -> None:
        self._pages = pages
        self._imports = imports
        self._uploads = uploads
        self._log = log
        self._reader = reader
        self._start = start_deps

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        path = BASE + "/runs/{runId:[0-9a-f]{32}}"
        return [
            self._pages.get(path, self.show, scope=SCOPE),
            self._pages.post(path + "/{wish:pause|resume|cancel}", self.control, scope=SCOPE),
            self._pages.get(path + "/failed.{format:csv|xlsx|ndjson|json}", self.download, scope=SCOPE),
        ]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One check or import."""
        run = await self._find(visit)
        upload = await self._uploads.find(run.site, run.upload)
        groups = run.groups if run.state.is_final else await self._log.fault_groups(run.id, limit=MAX_GROUPS)
        text, tone = describe_state(run)
        is_import = run.purpose is Purpose.IMPORT
        return self._pages.page(
            visit,
            "file_run.html",
            run=run,
            upload=upload,
            is_import=is_import,
            state_text=text,
            tone=tone,
            groups=[(group, describe_fault(group.code)) for group in groups[:MAX_GROUPS]],
            more_groups=len(groups) > MAX_GROUPS,
            jobs=await self._log.jobs(run.id, limit=MAX_JOBS) if is_import else [],
            mended_by=await self._imports.mending(run.site, run.id) if is_import else [],
            mending_url=mending_url(run=run.id),
            formats=("ndjson", "json") if _is_json(run) else ("csv", "xlsx"),
            address=f"{BASE}/runs/{run.id}",
            file_address=f"{BASE}/{run.upload}",
            is_known="known" in visit.query,
            describe_state=describe_state,
            sentence=sentence,
            duration=duration,
        )

    async def control(self, visit: Visit) -> web.StreamResponse:
        """Pause, resume or cancel."""
        run = await self._find(visit)
        wish = WISHES[visit.request.match_info["wish"]]
        if wish is Wish.RUN:
            require_kind(visit.session, run.options.kind)
        upload = await self._uploads.find(run.site, run.upload)
        await start_imports.control(
            run.site,
            run.id,
            wish,
            credentials_of(visit.session),
            self._start,
            file_expires_us=None if upload is None else upload.expires_us,
        )
        raise web.HTTPSeeOther(f"{BASE}/runs/{run.id}")

    async def download(self, visit: Visit) -> web.StreamResponse:
        """The failed records as they were in the file, with what is wrong with each."""
        run = await self._find(visit)
        address = ("Back", f"{BASE}/runs/{run.id}")
        upload = await self._uploads.find(run.site, run.upload)
        if upload is None:
            raise PageError(404, "The file has expired", "Upload it again to get its failed records.", back=address)
        format_ = visit.request.match_info["format"]
        try:
            async with self._reader.failed_records(run, upload, format_) as path:
                headers = SECURITY_HEADERS | {
                    "Cache-Control": "no-store",
                    "Content-Type": MEDIA_TYPES.get(format_, "application/json"),
                    "Content-Disposition": f'attachment; filename="failed-{run.id[:8]}.{format_}"',
                }
                response = web.StreamResponse(headers=headers)
                response.content_length = path.stat().st_size
                await response.prepare(visit.request)
                with path.open("rb") as file:
                    while chunk := file.read(CHUNK_BYTES):
                        await response.write(chunk)
                await response.write_eof()
                return response
        except SourceError as error:
            raise PageError(400, "This file cannot be written", f"{str(error).capitalize()}.", back=address) from None

    async def _find(self, visit: Visit) -> FileImport:
        run = await self._imports.find(visit.session.grant.site, visit.request.match_info["runId"])
        if run is None:
            raise not_found("import of a file", back=("Files", BASE))
        return run


def _is_json(run: FileImport) -> bool:
    return (run.options.format or run.file_name.rpartition(".")[2].lower()) in {"json", "ndjson", "jsonl"}
