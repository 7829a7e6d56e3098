"""Judges records on request, for imports with `validateOnly`; on a port that customers must not reach."""

from collections.abc import Callable

from aiohttp import web

from services.chassis.runtime.errors import Problem, UnavailableError
from services.sales.dry_run import CONTENT_TYPE, PATH, VerdictResponse, decode_request, encode_message
from services.validator.domain.verdict import faults_of
from services.validator.flow import Deps, judge_only

# More than the values of any import request: its body has at most 4 MiB of JSON.
MAX_REQUEST_BYTES = 16 * 1024 * 1024
KINDS = ("orders", "returns")


class VerdictApi:
    """Handler of the internal port. `is_ready` is whether records may be judged, `catalogue_as_of_ms` by what state."""

    def __init__(
        self, deps: Deps, *, is_ready: Callable[[], bool], catalogue_as_of_ms: Callable[[], int | None]
    ) -> None:
        self._deps = deps
        self._is_ready = is_ready
        self._catalogue_as_of_ms = catalogue_as_of_ms

    def routes(self) -> list[web.RouteDef]:
        """All routes of the port."""
        return [web.post(PATH, self.judge)]

    async def judge(self, request: web.Request) -> web.Response:
        """Return the faults of each record, as publishing it now would find them."""
        try:
            asked = decode_request(await request.read())
        except ValueError:
            raise Problem(400, "BAD_REQUEST", "the body is not a request for verdicts") from None
        if asked.kind not in KINDS:
            raise Problem(400, "BAD_REQUEST", "kind must be orders or returns")
        if not self._is_ready():
            # Without the catalogue, every record would be rejected.
            raise UnavailableError("the catalogue")
        verdicts = await judge_only(asked.kind, asked.values, self._deps)
        # Nothing is awaited in between: these are the verdicts of exactly this state.
        found = VerdictResponse([faults_of(verdict) for verdict in verdicts], self._catalogue_as_of_ms())
        return web.Response(body=encode_message(found), content_type=CONTENT_TYPE)
