"""Pages for operators: topics and their lag, dead letters, replays, the audit trail."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from aiohttp import web

from services.portal.domain.operations import FindingsView, Operations, describe_age, read_criteria, to_filter
from services.portal.domain.session import ADMIN_SCOPE, Session
from services.portal.flows.audit_trail import ENTRIES_PER_PAGE, list_entries
from services.portal.http.operator import BASE
from services.portal.http.outcomes import once, sentence_of
from services.portal.http.pages import Pages
from services.portal.http.visits import PageError, Visit, not_found
from services.portal.ports import AuditTrail
from tillstream import ConflictError, InvalidRequestError, NotFoundError

TOPICS, LETTERS, REPLAYS, AUDIT = (f"{BASE}/{each}" for each in ("topics", "dead-letters", "replays", "audit"))
OperationsOf = Callable[[Session], Operations]


class OperationsPages:
    """The pages of topics, dead letters, replays and the audit trail."""

    def __init__(
        self, pages: Pages, operations_of: OperationsOf, trail: AuditTrail, *, has_api: bool, grafana_url: str | None
    ) -> None:
        """`operations_of` returns the operators' API with the token of a session; `trail` is the portal's own."""
        self._pages, self._of, self._trail = pages, operations_of, trail
        self._has_api, self._grafana_url = has_api, grafana_url

    def routes(self) -> Sequence[web.RouteDef]:
        """All routes."""
        pages, one = self._pages, REPLAYS + "/{replay}"
        return [
            pages.get(TOPICS, self.topics, scope=ADMIN_SCOPE),
            pages.get(LETTERS, self.letters, scope=ADMIN_SCOPE),
            pages.get(LETTERS + "/{topic}/{partition}/{offset}", self.letter, scope=ADMIN_SCOPE),
            pages.get(REPLAYS, self.replays, scope=ADMIN_SCOPE),
            pages.post(REPLAYS, self.create, scope=ADMIN_SCOPE),
            pages.get(one, self.replay, scope=ADMIN_SCOPE),
            pages.post(one + "/start", self.start, scope=ADMIN_SCOPE),
            pages.post(one + "/abort", self.abort, scope=ADMIN_SCOPE),
            pages.get(AUDIT, self.audit, scope=ADMIN_SCOPE),
        ]

    async def topics(self, visit: Visit) -> web.StreamResponse:
        """All topics, with their consumers."""
        topics = await self._of(visit.session).topics()
        return self._pages.page(
            visit, "operator_topics.html", topics=topics, describe_age=describe_age, grafana_url=self._grafana_url
        )

    async def letters(self, visit: Visit) -> web.StreamResponse:
        """Dead letters in groups."""
        return await self._letters(visit, read_criteria(visit.query))

    async def _letters(self, visit: Visit, criteria: Mapping[str, str]) -> web.StreamResponse:
        problem, found = "", FindingsView(groups=(), total=0, is_complete=True)
        try:
            found = await self._of(visit.session).dead_letters(criteria)
        except InvalidRequestError as error:
            problem = sentence_of(error)
        return self._pages.page(
            visit,
            "dead_letters.html",
            status=400 if problem else 200,
            found=found,
            criteria=criteria,
            problem=problem,
            grafana_url=self._grafana_url,
        )

    async def letter(self, visit: Visit) -> web.StreamResponse:
        """One dead letter, personal fields masked."""
        parts = visit.request.match_info
        try:
            letter = await self._of(visit.session).dead_letter(parts["topic"], parts["partition"], parts["offset"])
        except NotFoundError:
            raise not_found("dead letter", back=("Dead letters", LETTERS)) from None
        return self._pages.page(visit, "dead_letter.html", letter=letter, back=("Dead letters", LETTERS))

    async def replays(self, visit: Visit) -> web.StreamResponse:
        """The newest replays."""
        return self._pages.page(visit, "replays.html", replays=await self._of(visit.session).replays())

    async def create(self, visit: Visit) -> web.StreamResponse:
        """Count what a filter selects; nothing is sent back yet."""
        criteria = read_criteria(visit.form)
        creating = self._of(visit.session).create_replay(to_filter(criteria))
        try:
            replay_id = await once(creating, "look whether it is among the replays", back=("Replays", REPLAYS))
        except InvalidRequestError:
            # The same filter is refused there, with the reason.
            return await self._letters(visit, criteria)
        raise web.HTTPSeeOther(f"{REPLAYS}/{replay_id}")

    async def replay(self, visit: Visit) -> web.StreamResponse:
        """One replay: its count, its progress, and what can be done."""
        try:
            replay = await self._of(visit.session).replay(visit.request.match_info["replay"])
        except NotFoundError:
            raise not_found("replay", back=("Replays", REPLAYS)) from None
        return self._pages.page(
            visit, "replay.html", replay=replay, address=f"{REPLAYS}/{replay.id}", back=("Replays", REPLAYS)
        )

    async def start(self, visit: Visit) -> web.StreamResponse:
        """Start or resume a replay."""
        return await self._change(visit, self._of(visit.session).start_replay)

    async def abort(self, visit: Visit) -> web.StreamResponse:
        """Abort a replay."""
        return await self._change(visit, self._of(visit.session).abort_replay)

    async def _change(self, visit: Visit, change: Callable[[str], Awaitable[None]]) -> web.StreamResponse:
        replay_id = visit.request.match_info["replay"]
        back = ("The replay", f"{REPLAYS}/{replay_id}")
        try:
            await once(change(replay_id), "look at the replay", back=back)
        except NotFoundError:
            raise not_found("replay", back=("Replays", REPLAYS)) from None
        except ConflictError as error:
            raise PageError(409, "Nothing was changed", sentence_of(error), back=back) from error
        raise web.HTTPSeeOther(f"{REPLAYS}/{replay_id}")

    async def audit(self, visit: Visit) -> web.StreamResponse:
        """The audit trail, newest first."""
        before = visit.query.get("before", "")
        operations = self._of(visit.session) if self._has_api else None
        entries = await list_entries(operations, self._trail, before=before)
        following = entries[-1].id if len(entries) == ENTRIES_PER_PAGE else ""
        return self._pages.page(
            visit, "audit.html", entries=entries, before=before, following=following, has_api=self._has_api
        )
