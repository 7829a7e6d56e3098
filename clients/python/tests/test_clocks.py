"""F20: the local clock may be hours off. Times of the server are compared with the time that its responses say."""

import datetime as dt
import time
from collections.abc import Iterator
from email.utils import format_datetime
from uuid import uuid1

import httpx2
import pytest

import tillstream
from tillstream import Client, RetryPolicy
from tillstream._sync import jobs as sync_jobs
from tillstream._sync import transport as sync_transport
from tillstream.http import retry_after_s
from tillstream.importer import is_old_job

HOURS_OFF = [-3, 0, 3]
NOW = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.UTC)
JOB = {
    **dict.fromkeys(("jobId", "name", "state", "status", "jobCreated", "lastModified", "completedAt", "duration"), "x"),
    "terminal": True,
    "baggage": {"records": {"total": 1, "success": 1, "failed": 0}},
    "attributes": {"mode": "offline", "type": "orders"},
}


class Server:
    """Grants tokens, knows the job only when it is asked for a second time, and has a clock of its own."""

    def __init__(self, now: dt.datetime) -> None:
        self.now = now
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/oauth2/token"):
            return httpx2.Response(200, json={"token_type": "bearer", "access_token": "t", "expires_in": 3_600})
        self.asked += 1
        headers = {"Date": format_datetime(self.now, usegmt=True)}
        if self.asked == 1:
            return httpx2.Response(404, json={"code": "JOB_NOT_FOUND"}, headers=headers)
        return httpx2.Response(200, json={"summary": {"job": JOB}}, headers=headers)


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Server]]:
    for module in (sync_transport, sync_jobs):
        monkeypatch.setattr(module, "sleep", lambda _: None)
    server = Server(NOW)
    http = httpx2.Client(transport=httpx2.MockTransport(server), base_url="https://t.example")
    with Client("https://t.example", "c", "s", "k", http=http, retry=RetryPolicy(max_wait_s=0)) as made:
        yield made, server


@pytest.mark.parametrize("hours", HOURS_OFF)
def test_a_job_that_is_not_shown_yet_is_waited_for(client: tuple[Client, Server], hours: int) -> None:
    """Breaks: the server's clock, and so the job's, differs from ours by hours."""
    made, server = client
    server.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=hours)
    assert made.jobs.wait(job_made_at(server.now)).terminal
    assert server.asked == 2


def test_an_old_job_is_not_waited_for(client: tuple[Client, Server]) -> None:
    """Breaks: our clock is three hours behind, so that the job looks young."""
    made, server = client
    server.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=3)
    with pytest.raises(tillstream.NotFoundError):
        made.jobs.wait(job_made_at(dt.datetime.now(dt.UTC)))


@pytest.mark.parametrize("days", [-2, 0, 2])
def test_a_resumed_import_takes_no_job_for_old_by_our_clock(days: int) -> None:
    """Breaks: our clock is days ahead. The job's outcome would be given up for lost while it is not shown yet."""
    server_now = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    error = tillstream.NotFoundError("d", status=404, code="c", server_time_s=server_now.timestamp())
    assert not is_old_job(job_made_at(server_now), error)
    assert is_old_job(job_made_at(server_now - dt.timedelta(hours=25)), error)


def test_a_date_to_retry_after_is_on_the_servers_clock() -> None:
    """Breaks: our clock is months away from the server's: the request waited that long, or not at all."""
    later = format_datetime(NOW + dt.timedelta(seconds=7), usegmt=True)
    assert retry_after_s({"retry-after": later, "date": format_datetime(NOW, usegmt=True)}) == 7
    for unusable in ({}, {"date": "yesterday"}):
        found = retry_after_s({"retry-after": format_datetime(dt.datetime.now(dt.UTC), usegmt=True), **unusable})
        assert found is not None
        assert found <= 1


def job_made_at(at: dt.datetime) -> str:
    """The id of a job that was made at that time."""
    shift = int((at.timestamp() - time.time()) * 1e7)
    fields = uuid1()
    ticks = fields.time + shift
    low, middle, high = ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF
    return str(type(fields)(fields=(low, middle, high, *fields.fields[3:]), version=1))
