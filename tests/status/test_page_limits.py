"""What the pages of one client take does not harm others."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import pytest
from aiohttp.test_utils import TestServer

from services.chassis.http import page_limits
from services.jobs.events import JobKey
from services.status.domain.block import ALL_EVENTS
from services.status.domain.listing import JobListQuery
from services.status.domain.page import EventsRequest
from services.status.flows import queries
from tests.chassis.eventually import until
from tests.jobs.events import JOB, a_header, a_run, judged, opened
from tests.status.api_fixtures import JOB_PATH, ApiClient, api
from tests.status.test_api_records import large_records
from tests.support.turns import turns

__all__ = ["api", "turns"]

RECORDS = f"{JOB_PATH}/records?outcome=failed"
WHOLE_PAGE = 4_100_000


async def test_other_tasks_run_while_a_long_page_is_rendered(api: ApiClient, turns: list[int]) -> None:
    header = a_header(10_000)
    await api.apply(judged(a_run("SF" * 5_000), header))
    deps = queries.Deps(jobs=api.jobs, waiters=api.notifier, now_us=lambda: 0, clock_s=lambda: 0.0)
    stored = await api.jobs.find(JOB, ALL_EVENTS)
    assert stored is not None
    for render in (
        queries.get_events(stored, EventsRequest(10_000, show_all=True), deps),
        queries.get_records(stored, "F", deps, first=0, rows=10_000),
    ):
        turns[0] = 0
        await render
        assert turns[0] >= 20


async def test_other_tasks_run_while_a_long_list_is_rendered(api: ApiClient, turns: list[int]) -> None:
    await api.apply(*(opened(a_header(1, key=JobKey(608, str(uuid4())))) for _ in range(2_000)))
    deps = queries.Deps(jobs=api.jobs, waiters=api.notifier, now_us=lambda: 0, clock_s=lambda: 0.0)
    turns[0] = 0
    assert (await queries.list_jobs(JobListQuery(608, rows=2_000), deps))[0] == 2_000
    assert turns[0] >= 8


async def test_a_list_ends_at_a_number_of_jobs_and_the_next_page_continues(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MAX_JOBS_PER_PAGE", 3)
    keys = [JobKey(608, str(uuid4())) for _ in range(7)]
    await api.apply(*(opened(a_header(1, key=key)) for key in keys))
    path, counts, found = "/common-status/v1/12345/jobs?rows=10000", list[int](), list[str]()
    while path:
        page = await (await api.get(path)).json()
        counts.append(page["pagination"]["count"])
        found += [job["jobId"] for job in page["result"]]
        token = page["pagination"]["nextPageToken"]
        path = token and f"/common-status/v1/12345/jobs?rows=10000&page={token}"
    assert (counts, sorted(found)) == ([3, 3, 1], sorted(key.job_id for key in keys))


async def test_a_client_that_is_alone_reads_page_after_page_without_a_pause(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Breaks: a pause after each page halves the speed of a client that nobody else is delayed by."""
    pauses: list[float] = []

    def call_later(pause_s: float, resume: Callable[[], None]) -> None:
        pauses.append(pause_s)
        resume()

    monkeypatch.setattr(api.page_limits, "_call_later", call_later)
    monkeypatch.setattr(page_limits, "MIN_PAUSE_S", 0.0)
    monkeypatch.setattr(page_limits, "ACTIVE_S", 3_600.0)
    await api.apply(judged(a_run("SF" * 500), a_header(1_000)))
    for _ in range(2):
        await api.read()
    assert not pauses
    assert (await api.get("/common-status/v1/tokyo/jobs", who="tokyo")).status == 200
    await api.read()
    assert len(pauses) == 1


@asynccontextmanager
async def stalled_request(api: ApiClient) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """A request for a page, of which nothing is read; yields a function that reads it and returns its size."""
    server, loop = api.client.server, asyncio.get_running_loop()
    assert isinstance(server, TestServer)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0)
        await loop.sock_connect(connection, (server.host, server.port))
        head = f"GET {RECORDS} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer good\r\nConnection: close\r\n\r\n"
        await loop.sock_sendall(connection, head.encode())
        assert (await loop.sock_recv(connection, 12)) == b"HTTP/1.1 200"

        async def read() -> int:
            size = 0
            with suppress(ConnectionResetError):
                while chunk := await loop.sock_recv(connection, 1 << 20):
                    size += len(chunk)
            return size

        yield read


@pytest.mark.parametrize(("bound", "status"), [("MAX_UNSENT_BYTES_PER_CLIENT", 429), ("MAX_UNSENT_BYTES", 503)])
async def test_a_client_that_does_not_read_its_pages_gets_no_more(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch, bound: str, status: int
) -> None:
    """I8. Bytes count until they are read."""
    monkeypatch.setattr(page_limits, bound, 1)
    await api.apply(large_records(1_200, 14_000))
    async with stalled_request(api) as read:
        refused = await api.get(RECORDS)
        assert (refused.status, refused.headers["Retry-After"].isdigit()) == (status, True)
        assert await read() > WHOLE_PAGE

    async def is_allowed() -> bool:
        return (await api.get(RECORDS)).status == 200

    await until(is_allowed)


async def test_a_client_that_reads_too_slowly_is_disconnected(api: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_limits, "SEND_TIMEOUT_S", 0.2)
    monkeypatch.setattr(page_limits, "MAX_UNSENT_BYTES_PER_CLIENT", 1)
    await api.apply(large_records(1_200, 14_000))

    async def is_allowed() -> bool:
        return (await api.get(RECORDS)).status == 200

    async with stalled_request(api) as read:
        await until(is_allowed)
        assert await read() < WHOLE_PAGE
