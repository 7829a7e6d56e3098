"""Sends every case, follows every job, compares the results with the documents, prints a table."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from rich import box
from rich.table import Table

from sandbox.console import Console
from sandbox.demo.cases import API_KEY, CASES, CLIENT_ID, CLIENT_SECRET, Case

IMPORT, STATUS = "/omnichannel/api/v1", "/common-status/v1"
JOB_TIMEOUT_S = 30.0
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)
MAX_ATTEMPTS = 20


class UnexpectedResponseError(Exception):
    """A response with which the demo cannot continue."""


@dataclass(frozen=True, slots=True)
class Response:
    """The parts of an HTTP response that the demo uses."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """The result of one case; `differences` from the documents are empty when all is well."""

    case: Case
    response: str = ""
    status: str = ""
    terminal: bool | None = None
    warnings: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    def expect(self, subject: str, *, expected: object, actual: object) -> None:
        """Record a difference, if there is one."""
        if expected != actual:
            self.differences.append(f"{subject} is {actual!r}, should be {expected!r}")


async def show_imports(base: str, console: Console) -> bool:
    """Send the cases to a base URL and print the results; return whether all are as documented."""
    try:
        with console.waiting("the documents' examples"):
            outcomes = await _Client.run(base)
    except (UnexpectedResponseError, aiohttp.ClientError, TimeoutError) as error:
        console.line(f"The demo could not run: {error or type(error).__name__}")
        return False
    console.print(_table(outcomes))
    for outcome in outcomes:
        for difference in outcome.differences:
            console.line(f"{outcome.case.title}: {difference}")
    return not any(outcome.differences for outcome in outcomes)


class _Client:
    """A client of the import and status APIs with the demo tenant's credentials."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._tokens: dict[str, str] = {}

    @classmethod
    async def run(cls, base: str) -> list[Outcome]:
        """Send the cases one after another, then follow their jobs concurrently."""
        async with aiohttp.ClientSession(base, timeout=REQUEST_TIMEOUT) as session:
            client = cls(session)
            await client._authenticate()
            sent = [await client._send(case) for case in CASES]
            await asyncio.gather(*(client._follow(outcome, job_id) for outcome, job_id in sent if job_id))
            return [outcome for outcome, _ in sent]

    async def _authenticate(self) -> None:
        credentials = f"grant_type=client_credentials&client_id={CLIENT_ID}&client_secret={CLIENT_SECRET}"
        for api in (IMPORT, STATUS):
            response = await self._call("POST", f"{api}/oauth2/token?{credentials}")
            token = response.body.get("access_token")
            if response.status != 200 or not isinstance(token, str):
                raise UnexpectedResponseError(f"{api}/oauth2/token answered {response.status} without a token")
            self._tokens[api] = token

    async def _send(self, case: Case) -> tuple[Outcome, str | None]:
        headers = {"Content-Type": "application/json"}
        response = await self._call(case.method, case.target, api=IMPORT, body=case.body, headers=headers)
        message = response.body.get("message") or response.body.get("code")
        outcome = Outcome(case, response=f"{response.status} {message}")
        outcome.expect("HTTP status", expected=202, actual=response.status)
        outcome.expect("message", expected=case.message, actual=message)
        return outcome, response.body.get("jobId")

    async def _follow(self, outcome: Outcome, job_id: str) -> None:
        path = f"{STATUS}/{API_KEY}/job/{job_id}/events"
        end = time.monotonic() + JOB_TIMEOUT_S
        while time.monotonic() < end:
            response = await self._call("GET", path, api=STATUS, headers={"Prefer": "wait=10"})
            if response.status == 404 and "Retry-After" in response.headers:
                await asyncio.sleep(0.1)  # accepted, but its first event is not stored yet
                continue
            if response.status != 200:
                outcome.differences.append(f"the job's status answered {response.status}")
                return
            _read_report(outcome, response.body)
            if outcome.terminal:
                _compare(outcome, response.body)
                return
            await asyncio.sleep(0.1)  # a server may answer at once instead of waiting
        outcome.differences.append(f"the job has not ended after {JOB_TIMEOUT_S:g} s")

    async def _call(
        self,
        method: str,
        target: str,
        *,
        api: str | None = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """Send one request; retry a 429 or 503 after its Retry-After."""
        all_headers = dict(headers or {})
        if api is not None:
            all_headers["Authorization"] = f"Bearer {self._tokens[api]}"
        for _ in range(MAX_ATTEMPTS):
            async with self._session.request(method, target, data=body, headers=all_headers) as received:
                response = Response(received.status, dict(received.headers), await _json(received))
            if response.status not in {429, 503}:
                return response
            await asyncio.sleep(min(float(response.headers.get("Retry-After", "1")), 5.0))
        return response


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        body = await response.json(content_type=None)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _read_report(outcome: Outcome, report: dict[str, Any]) -> None:
    summary = report.get("summary", {})
    outcome.status = str(summary.get("job-status"))
    outcome.terminal = summary.get("job", {}).get("terminal")
    outcome.warnings = [str(event.get("message")) for event in report.get("result", [])]


def _compare(outcome: Outcome, report: dict[str, Any]) -> None:
    case = outcome.case
    job = report["summary"]["job"]
    records = {"total": case.total, "failed": len(case.warnings), "success": case.total - len(case.warnings)}
    outcome.expect("job-status", expected=case.status, actual=outcome.status)
    outcome.expect("attributes", expected={"mode": case.mode, "type": case.type}, actual=job.get("attributes"))
    outcome.expect("records", expected=records, actual=job.get("baggage", {}).get("records"))
    outcome.expect("warnings", expected=list(case.warnings), actual=outcome.warnings)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(box=box.ASCII2, title="The documents' examples", caption=f"… is {IMPORT}", title_justify="left")
    table.caption_justify = "left"
    # Folded on narrow terminals: with minimum widths the last columns would be cut off.
    for name in ("Example", "Request", "Response", "Job", "Terminal", "Warnings", "As documented"):
        table.add_column(name, overflow="fold")
    for outcome in outcomes:
        table.add_row(
            outcome.case.title,
            outcome.case.request.replace(IMPORT, "…"),
            outcome.response,
            outcome.status,
            str(outcome.terminal).lower(),
            "\n".join(outcome.warnings),
            "no" if outcome.differences else "yes",
        )
    return table
