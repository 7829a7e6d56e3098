"""Send every case, follow every job, compare with the documents, show a table."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich import box
from rich.table import Table

from sandbox.demo.cases import API_KEY, CASES, CLIENT_ID, CLIENT_SECRET, Case
from sandbox.screen import Screen

IMPORT, STATUS = "/omnichannel/api/v1", "/common-status/v1"
SECONDS_TO_END = 30.0
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)
TRIES = 20


class Surprise(Exception):  # noqa: N818 - says what happened
    """An answer without which the demo cannot go on."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, as far as the demo looks at it."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """What became of one case; `surprises` is empty when all is as the documents print it."""

    case: Case
    answer: str = ""
    status: str = ""
    terminal: bool | None = None
    warnings: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def expect(self, what: str, *, wanted: object, found: object) -> None:
        """Note a difference."""
        if wanted != found:
            self.surprises.append(f"{what} is {found!r}, should be {wanted!r}")


async def show_demo(base: str, screen: Screen) -> bool:
    """Run the demo against a front door and show what came of it; whether all was as the documents print it."""
    try:
        with screen.waiting("the documents' examples"):
            outcomes = await _Visitor.visit(base)
    except (Surprise, aiohttp.ClientError, TimeoutError) as error:
        screen.line(f"The demo could not be run: {error or type(error).__name__}")
        return False
    screen.show(_table(outcomes))
    for outcome in outcomes:
        for surprise in outcome.surprises:
            screen.line(f"{outcome.case.title}: {surprise}")
    return not any(outcome.surprises for outcome in outcomes)


class _Visitor:
    """A customer with the demo tenant's credentials."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._tokens: dict[str, str] = {}

    @classmethod
    async def visit(cls, base: str) -> list[Outcome]:
        """Send the cases one after the other, then follow their jobs together."""
        async with aiohttp.ClientSession(base, timeout=REQUEST_TIMEOUT) as session:
            visitor = cls(session)
            await visitor._ask_for_tokens()
            sent = [await visitor._send(case) for case in CASES]
            await asyncio.gather(*(visitor._follow(outcome, job) for outcome, job in sent if job))
            return [outcome for outcome, _ in sent]

    async def _ask_for_tokens(self) -> None:
        credentials = f"grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
        for api in (IMPORT, STATUS):
            answer = await self._call("POST", f"{api}/oauth2/token?{credentials}")
            token = answer.body.get("access_token")
            if answer.status != 200 or not isinstance(token, str):
                raise Surprise(f"{api}/oauth2/token answered {answer.status}, and no token")
            self._tokens[api] = token

    async def _send(self, case: Case) -> tuple[Outcome, str | None]:
        headers = {"Content-Type": "application/json"}
        answer = await self._call(case.method, case.target, api=IMPORT, body=case.body, headers=headers)
        message = answer.body.get("message") or answer.body.get("code")
        outcome = Outcome(case, answer=f"{answer.status} {message}")
        outcome.expect("HTTP status", wanted=202, found=answer.status)
        outcome.expect("message", wanted=case.message, found=message)
        return outcome, answer.body.get("jobId")

    async def _follow(self, outcome: Outcome, job: str) -> None:
        path = f"{STATUS}/{API_KEY}/job/{job}/events"
        end = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < end:
            answer = await self._call("GET", path, api=STATUS, headers={"Prefer": "wait=10"})
            if answer.status == 404 and "Retry-After" in answer.headers:
                await asyncio.sleep(0.1)  # the job is known, its first event not yet read
                continue
            if answer.status != 200:
                outcome.surprises.append(f"the job's status answered {answer.status}")
                return
            _note(outcome, answer.body)
            if outcome.terminal:
                _judge(outcome, answer.body)
                return
            await asyncio.sleep(0.1)  # a server may answer at once instead of waiting
        outcome.surprises.append(f"not at its end after {SECONDS_TO_END:g} s")

    async def _call(
        self,
        method: str,
        target: str,
        *,
        api: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One call; told to come back later, it does."""
        sent = dict(headers or {})
        if api is not None:
            sent["Authorization"] = f"Bearer {self._tokens[api]}"
        for _ in range(TRIES):
            async with self._session.request(method, target, data=body, headers=sent) as response:
                answer = Answer(response.status, dict(response.headers), await _json(response))
            if answer.status not in {429, 503}:
                return answer
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), 5.0))
        return answer


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _note(outcome: Outcome, report: dict[str, Any]) -> None:
    summary = report.get("summary", {})
    outcome.status = str(summary.get("job-status"))
    outcome.terminal = summary.get("job", {}).get("terminal")
    outcome.warnings = [str(event.get("message")) for event in report.get("result", [])]


def _judge(outcome: Outcome, report: dict[str, Any]) -> None:
    case = outcome.case
    job = report["summary"]["job"]
    records = {"total": case.total, "failed": len(case.warnings), "success": case.total - len(case.warnings)}
    outcome.expect("job-status", wanted=case.status, found=outcome.status)
    outcome.expect("attributes", wanted={"mode": case.mode, "type": case.type}, found=job.get("attributes"))
    outcome.expect("records", wanted=records, found=job.get("baggage", {}).get("records"))
    outcome.expect("warnings", wanted=list(case.warnings), found=outcome.warnings)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(box=box.ASCII2, title="The documents' examples", caption=f"… is {IMPORT}", title_justify="left")
    table.caption_justify = "left"
    # Where all of it does not fit it is folded: with least widths the last columns would be cut off.
    for name in ("Example", "Request", "Answer", "Job", "Terminal", "Warnings", "As printed"):
        table.add_column(name, overflow="fold")
    for outcome in outcomes:
        table.add_row(
            outcome.case.title,
            outcome.case.request.replace(IMPORT, "…"),
            outcome.answer,
            outcome.status,
            str(outcome.terminal).lower(),
            "\n".join(outcome.warnings),
            "no" if outcome.surprises else "yes",
        )
    return table
