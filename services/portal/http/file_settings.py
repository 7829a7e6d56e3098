"""How a file is read: what was detected, which column is which field, the first records."""

import re
from collections.abc import Mapping, Sequence
from zoneinfo import available_timezones

from aiohttp import web

from services.portal.domain.file_import import Purpose, ReadOptions
from services.portal.domain.session import Session
from services.portal.domain.upload import Upload, describe_bytes
from services.portal.flows import start_imports, upload_files
from services.portal.flows.prepare_files import Deps, PreparedFile, choose, prepare
from services.portal.http.file_states import describe_state, sentence
from services.portal.http.files import BASE, SCOPE, find_upload
from services.portal.http.pages import Pages, missing_right
from services.portal.http.visits import PageError, Visit
from services.portal.ports import ImportStore
from tillstream.http import Credentials
from tillstream.sources.csv_file import DELIMITERS
from tillstream.sources.inspection import fields_of

KINDS = [("orders", "Orders"), ("returns", "Returns")]
MODES = [("online", "Online"), ("offline", "Offline")]
FORMATS = [("csv", "CSV"), ("xlsx", "Spreadsheet"), ("ndjson", "NDJSON"), ("json", "JSON")]
ENCODINGS = [
    ("utf-8", "UTF-8"),
    ("cp1252", "Windows (Western)"),
    ("iso8859-15", "ISO 8859-15 (Western)"),
    ("cp1250", "Windows (Central European)"),
    ("cp850", "DOS (Western)"),
    ("utf-16", "UTF-16"),
]
DECIMALS = [(",", "Comma: 9,99"), (".", "Point: 9.99")]
MAX_COLUMNS = 300
_COLUMN = re.compile(r"column-([0-9]{1,3})")
# Zones are many, and never change while the process runs.
_ZONES = frozenset(available_timezones())


class FileSettingsPages:
    """The page of a file."""

    def __init__(
        self,
        pages: Pages,
        *,
        uploads: upload_files.Deps,
        prepare_deps: Deps,
        start_deps: start_imports.Deps,
        imports: ImportStore,
    ) -> None:
        self._pages = pages
        self._uploads = uploads
        self._prepare = prepare_deps
        self._start = start_deps
        self._imports = imports

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        path = BASE + "/{uploadId:[0-9a-f]{32}}"
        return [self._pages.get(path, self.show, scope=SCOPE), self._pages.post(path, self.act, scope=SCOPE)]

    async def show(self, visit: Visit) -> web.StreamResponse:
        """One file."""
        upload, received = await upload_files.measure(await find_upload(visit, self._uploads), self._uploads)
        if not upload.is_complete:
            return self._pages.page(
                visit, "file_unfinished.html", upload=upload, received=received, describe_bytes=describe_bytes
            )
        return await self._show(visit, upload, await self._prepared(visit, upload))

    async def _prepared(self, visit: Visit, upload: Upload) -> PreparedFile:
        return await prepare(upload, self._prepare, default=default_options(visit.session))

    async def _show(
        self, visit: Visit, upload: Upload, prepared: PreparedFile, *, problems: Sequence[str] = (), status: int = 200
    ) -> web.Response:
        inspection = prepared.inspection
        return self._pages.page(
            visit,
            "file.html",
            status=status,
            upload=upload,
            file=inspection,
            options=prepared.options,
            problem=prepared.problem,
            problems=problems,
            is_ready=prepared.is_ready,
            chosen=_chosen(prepared),
            fields=fields_of(prepared.options.kind),
            choices={
                "kind": kinds_of(visit.session),
                "mode": MODES,
                "format": FORMATS,
                "encoding": ENCODINGS,
                "delimiter": [(sign, name.capitalize()) for sign, name in DELIMITERS.items()],
                "decimal": DECIMALS,
            },
            texts={
                "format": dict(FORMATS).get(inspection.format if inspection else "", ""),
                "delimiter": DELIMITERS.get(inspection.delimiter or "", "") if inspection else "",
                "decimal": {",": "comma", ".": "point"}.get(inspection.decimal or "", "") if inspection else "",
                "encoding": _encoding_text(inspection.encoding if inspection else None),
            },
            zone=visit.session.grant.time_zone,
            records=[record.decode("utf-8", "replace") for record in inspection.records] if inspection else [],
            describe_state=describe_state,
            sentence=sentence,
            runs=await self._imports.of_upload(upload.site, upload.id),
            describe_bytes=describe_bytes,
        )

    async def act(self, visit: Visit) -> web.StreamResponse:
        """Read the file otherwise, check it, or import it."""
        upload = await find_upload(visit, self._uploads)
        action = visit.form.get("action", "preview")
        if action in {"preview", "check", "import"} and "kind" in visit.form:
            options, problems = parse_options(visit.form)
            require_kind(visit.session, options.kind)
            columns, default = parse_columns(visit.form), default_options(visit.session)
            doubled = [] if problems else await choose(upload, options, columns, self._prepare, default=default)
            problems = [*problems, *(f"{name} has several columns; choose one of them." for name in doubled)]
            upload = await find_upload(visit, self._uploads)
            if problems:
                prepared = await self._prepared(visit, upload)
                return await self._show(visit, upload, prepared, problems=problems, status=400)
        if action == "preview":
            raise web.HTTPSeeOther(f"{BASE}/{upload.id}")
        prepared = await self._prepared(visit, upload)
        if not prepared.is_ready:
            raise web.HTTPSeeOther(f"{BASE}/{upload.id}")
        require_kind(visit.session, prepared.options.kind)
        purpose = Purpose.CHECK if action == "check" else Purpose.IMPORT
        begun = await start_imports.start(
            upload,
            prepared.options,
            purpose,
            credentials_of(visit.session),
            self._start,
            again=visit.form.get("again") == "yes",
        )
        raise web.HTTPSeeOther(f"{BASE}/runs/{begun.run.id}" + ("" if begun.is_new else "?known=1"))


def kinds_of(session: Session) -> list[tuple[str, str]]:
    """Return the kinds of records that a client may import, each with its name."""
    return [(kind, name) for kind, name in KINDS if session.may(f"{kind}:write")]


def default_options(session: Session) -> ReadOptions:
    """Return how a file is read about which nothing was chosen."""
    return ReadOptions(kind=kinds_of(session)[0][0])


def require_kind(session: Session, kind: str) -> None:
    """Raise the error of a client that may not import records of this kind."""
    if not session.may(f"{kind}:write"):
        raise missing_right(f"{kind}:write")


def credentials_of(session: Session) -> Credentials:
    """Return what an import needs to go on after the session has ended."""
    if not session.api_key:
        raise PageError(403, "Not allowed", "An operator has no site to import for. Sign in as a client of a site.")
    return Credentials(session.client_id, session.client_secret, session.api_key)


def parse_options(form: Mapping[str, str]) -> tuple[ReadOptions, list[str]]:
    """Return how a file is to be read, and what could not be understood."""
    problems: list[str] = []

    def choose_from(name: str, choices: Sequence[tuple[str, str]]) -> str | None:
        value = form.get(name) or None
        if value is not None and value not in dict(choices):
            problems.append(f"The choice for {name} was not understood; choose again.")
            return None
        return value

    zone = form.get("zone", "").strip() or None
    if zone is not None and zone not in _ZONES:
        problems.append(f"There is no time zone “{zone[:60]}”; write one like Europe/Berlin.")
        zone = None
    options = ReadOptions(
        kind=choose_from("kind", KINDS) or "orders",
        mode=choose_from("mode", MODES),
        format=choose_from("format", FORMATS),
        encoding=choose_from("encoding", ENCODINGS),
        delimiter=choose_from("delimiter", list(DELIMITERS.items())),
        decimal=choose_from("decimal", DECIMALS),
        zone=zone,
    )
    return options, problems


def parse_columns(form: Mapping[str, str]) -> dict[int, str]:
    """Return the field of each column by its position."""
    found = {}
    for name, value in form.items():
        if (match := _COLUMN.fullmatch(name)) and int(match[1]) < MAX_COLUMNS:
            found[int(match[1])] = value
    return found


def _chosen(prepared: PreparedFile) -> dict[int, str]:
    """Return the field that each column is sent as."""
    if prepared.inspection is None:
        return {}
    return {heading.position: heading.field or "" for heading in prepared.inspection.headings}


def _encoding_text(encoding: str | None) -> str:
    if encoding is None:
        return ""
    return dict(ENCODINGS).get(encoding.removesuffix("-sig").replace("_", "-"), encoding.upper())
