"""Commands that follow something for long, against a server that comes and goes: what is stored, and how they stop."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid1

import pytest

SOURCES = Path(__file__).parents[1]
COUNTS = {"ordered": 2, "delivered": 1, "pending": 1, "cancelled": 0}
UNITS = [{"stockId": "s1", "status": "COMPLETED", "redeemCode": "CODE-1"}, {"stockId": "s2", "status": "PENDING"}]
CODES = {
    "transactionId": "t1",
    "status": "PROCESSING",
    "counts": COUNTS,
    "codes": [{"sku": "A", "codes": UNITS}],
}


class Server(ThreadingHTTPServer):
    """Answers as `answer` says: a status and a body by path and query. `away` is set once it has failed."""

    daemon_threads = True

    def __init__(self, answer: Callable[[str, dict[str, str]], tuple[int, Any]]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer = answer
        self.away = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._respond(*self.server.answer(url.path, {name: values[0] for name, values in parse_qs(url.query).items()}))

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._respond(200, {"access_token": "t", "expires_in": 3600})

    def _respond(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if status == 503:
            self.send_header("Retry-After", "100")
        self.end_headers()
        self.wfile.write(content)
        if status == 503:
            self.server.away.set()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


Serve = Callable[[Callable[[str, dict[str, str]], tuple[int, Any]]], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start servers."""
    started: list[tuple[Server, threading.Thread]] = []

    def start(answer: Callable[[str, dict[str, str]], tuple[int, Any]]) -> Server:
        server = Server(answer)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        started.append((server, thread))
        return server

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start commands."""
    processes: list[subprocess.Popen[str]] = []

    def run(server: Server, *arguments: str) -> "subprocess.Popen[str]":
        variables = {"BASE_URL": f"http://127.0.0.1:{server.server_port}", "CLIENT_ID": "c", "CLIENT_SECRET": "s"}
        variables |= {"API_KEY": "k", "STATE_DIR": str(tmp_path / "state"), "CONFIG_DIR": str(tmp_path / "config")}
        variables = {f"TILLSTREAM_{name}": value for name, value in variables.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "tillstream", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(SOURCES)} | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_codes_stop_while_the_server_is_away(
    serve: Serve, start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    """Breaks if Ctrl-C waits for the retries, which last for minutes: what was delivered is in the file by then."""
    replies = iter([(200, CODES)])
    server = serve(lambda *_: next(replies, (503, {"code": "UNAVAILABLE"})))
    process = start(server, "orders", "codes", "t1", "--until-complete", "--out", "codes.csv")
    assert server.away.wait(60)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 75, err
    assert "Traceback" not in err
    assert "CODE-1" in (tmp_path / "codes.csv").read_text()
    assert (tmp_path / "codes.csv").stat().st_mode & 0o777 == 0o600


def event(number: int) -> dict[str, Any]:
    fields = {"id": f"e{number}", "type": "job.finished", "source": "urn:x", "time": "2026-01-01T00:00:00Z"}
    return {**fields, "sequence": number, "data": {}}


def feed(_: str, query: dict[str, str]) -> tuple[int, Any]:
    """Return a page of five events at most; a cursor is the number of the event before it."""
    after = int(query["after"]) if query.get("after", "").isdecimal() else 0
    last = min(after + min(int(query.get("rows", 5)), 5), 12)
    pagination = {"rows": 5, "count": 5, "nextPageToken": str(last)}
    return 200, {"pagination": pagination, "result": [event(number) for number in range(after + 1, last + 1)]}


@pytest.mark.parametrize("limit", [3, 7])
def test_each_run_goes_on_behind_the_last_event_of_the_one_before(
    serve: Serve, start: Start, tmp_path: Path, limit: int
) -> None:
    """Breaks if a run that ends at its limit forgets where it was: the next one would print the same events."""
    server = serve(feed)
    seen: list[int] = []
    while len(seen) + limit <= 12:
        process = start(server, "events", "tail", "--cursor-file", "cursor", "--limit", str(limit), "--json")
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        seen += [json.loads(line)["sequence"] for line in out.splitlines()]
        assert (tmp_path / "cursor").read_text() == str(len(seen))
        assert [path.name for path in tmp_path.iterdir()] == ["cursor"]
    assert seen == list(range(1, len(seen) + 1))


def test_a_job_is_watched_that_is_not_known_yet(serve: Serve, start: Start) -> None:
    """Breaks if the command fails right after an import, while the status API lags behind."""
    texts = ("jobId", "name", "state", "status", "jobCreated", "lastModified", "completedAt", "duration")
    counts = {"total": 2, "success": 1, "failed": 1}
    attributes = {"mode": "offline", "type": "orders"}
    job = {**dict.fromkeys(texts, "x"), "terminal": True, "baggage": {"records": counts}, "attributes": attributes}
    replies = iter([(404, {"code": "JOB_NOT_FOUND", "detail": "no such job"})])
    server = serve(lambda *_: next(replies, (200, {"summary": {"job": job}})))
    process = start(server, "jobs", "watch", str(uuid1()), "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert json.loads(out)["terminal"] is True
