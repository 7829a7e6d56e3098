"""The other commands of `tillstream`, and the walk of docs/client.md word for word."""

import asyncio
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from uuid import uuid4

import pytest

from tests.e2e.command import SOURCES, Command
from tests.e2e.customer import Customer
from tests.e2e.terminal import Terminal

REPOSITORY = SOURCES.parents[1]


@pytest.fixture
def command(base: str, tmp_path: Path) -> Command:
    return Command(base, tmp_path)


async def test_jobs_are_listed_shown_watched_and_their_failures_told(command: Command, customer: Customer) -> None:
    bad = customer.order(lineItems=[{"productId": "zz", "quantity": 1, "unitPrice": 1}])
    job = (await customer.send_with_retry([customer.order(), bad])).json["jobId"]
    watched = await asyncio.to_thread(command.run, "jobs", "watch", job)
    assert watched.code == 3, watched
    assert "COMPLETED_WITH_WARNING" in watched.out
    listed = await asyncio.to_thread(command.run, "jobs", "list", "--limit", "1", "--json")
    assert [event["jobId"] for event in listed.events] == [job]
    shown = await asyncio.to_thread(command.run, "jobs", "show", job, "--json")
    assert shown.events[0]["baggage"]["records"] == {"total": 2, "success": 1, "failed": 1, "unprocessed": 0}
    failed = await asyncio.to_thread(command.run, "jobs", "failed", job)
    assert "No product is found for product ID zz" in failed.out
    missing = await asyncio.to_thread(command.run, "jobs", "show", str(uuid4()))
    assert missing.code == 4
    assert "404 JOB_NOT_FOUND" in missing.err
    assert "request" in missing.err


def test_codes_are_ordered_and_collected_though_it_is_killed(command: Command) -> None:
    """DEMO-TRICKLE delivers one a second: killed and started again, the file has each code once, mode 0600.

    Ten of them, so that some are pending when a slow machine asks for the first time.
    """
    placed = command.run("orders", "place", "DEMO-TRICKLE=10", "DEMO-INSTANT=2", "--number", uuid4().hex)
    assert placed.code == 0, placed
    transaction = placed.out.strip()
    out = command.directory / "codes.csv"
    arguments = ("orders", "codes", transaction, "--until-complete", "--out", str(out))
    process = command.start(*arguments)
    assert process.stderr is not None
    assert "pending" in process.stderr.readline()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = command.run(*arguments)
    assert done.code == 0, done
    assert out.stat().st_mode & 0o777 == 0o600
    lines = [line.split(",") for line in out.read_text().splitlines()[1:]]
    assert [line[2] for line in lines] == ["COMPLETED"] * 12
    assert len({line[3] for line in lines}) == 12
    shown = command.run("orders", "show", transaction, "--json")
    assert shown.events[0]["counts"]["delivered"] == 12
    assert not any(line[3] in done.out + done.err for line in lines), "codes are shown in the file only"


@pytest.mark.long
def test_cancelled_units_are_an_exit_code(command: Command) -> None:
    placed = command.run("orders", "place", "DEMO-CANCEL=1", "--json")
    transaction = placed.events[0]["transactionId"]
    assert command.run("orders", "codes", transaction, "--until-complete", "--json").code == 4
    refused = command.run("orders", "place", "NO-SUCH=1")
    assert refused.code == 4
    assert "UNKNOWN_SKU" in refused.err
    assert "/products/0/sku" in refused.err
    assert command.run("orders", "place", "NO-QUANTITY").code == 2


def test_reports_users_and_invoices(command: Command) -> None:
    user = f"user {uuid4().hex[:6]}/x"
    path = command.directory / "sales.csv"
    path.write_text(
        f"id,userId,dateTime,productId,quantity,unitPrice\n{uuid4().hex},{user},2026-05-01T10:00:00Z,4556,2,1.50\n"
    )
    assert command.run("import", str(path), "--kind", "orders").code == 0
    found = command.run("users", "orders", user, "--json")
    for _ in range(50):
        if found.out:
            break
        found = command.run("users", "orders", user, "--json")
    assert [event["gross"] for event in found.events] in (["3"], ["3.00"], ["3.0"]), found
    assert command.run("users", "orders", user).out.count("ORDERED") == 1
    arguments = ("report", "sales", "--by", "month", "--from", "2026-05-01", "--to", "2026-05-31")
    report = command.run(*arguments, "--json")
    assert report.code == 0, report
    assert report.events[0]["result"][0]["month"] == "2026-05"
    assert "gross" in command.run(*arguments).out
    assert command.run(*arguments, "--out", "sales.xlsx").code == 0
    assert (command.directory / "sales.xlsx").read_bytes()[:2] == b"PK"
    assert command.run("report", "sales", "--by", "colour").code == 2


class Receiver(BaseHTTPRequestHandler):
    """A receiver of webhooks."""

    received: list[tuple[dict[str, str], bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    received: list[tuple[dict[str, str], bytes]] = []
    server = HTTPServer(("127.0.0.1", 0), type("R", (Receiver,), {"received": received}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hooks", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.long
async def test_events_are_followed_and_forwarded(
    base: str, tmp_path: Path, customer: Customer, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    """The second run goes on where the first ended: nothing is missed in between."""
    url, received = receiver
    command = Command(base, tmp_path, variables={"TILLSTREAM_WEBHOOK_SECRET": "whsec_" + "QUJD" * 8})
    tail = ("events", "tail", "--type", "job.finished", "--json", "--limit", "1")
    jobs = []
    for _ in range(2):
        jobs.append((await customer.send_with_retry([customer.order()])).json["jobId"])
        await customer.wait_for_job(jobs[-1])
    started = "2026-01-01T00:00:00Z"
    first = await asyncio.to_thread(command.run, *tail, "--after", started)
    assert first.code == 0, first
    assert first.events[0]["type"] == "job.finished"
    forwarded = await asyncio.to_thread(
        command.run, "webhooks", "listen", "--forward-to", url, "--after", started, "--limit", "2"
    )
    assert forwarded.code == 0, forwarded
    assert forwarded.out.count("204 No Content") == 2
    triggered = await asyncio.to_thread(command.run, "webhooks", "trigger", "job.finished", "--forward-to", url)
    assert triggered.code == 0, triggered
    assert len(received) == 3
    for fields, body in received:
        assert json.loads(body)["id"] == fields["webhook-id"]
        signature = {name: fields[f"webhook-{name}"] for name in ("id", "timestamp", "signature")}
        arguments = [part for name, value in signature.items() for part in (f"--{name}", value)]
        good = await asyncio.to_thread(command.run, "webhooks", "verify", "-", *arguments, stdin=body)
        assert good.code == 0, good
        bad = await asyncio.to_thread(command.run, "webhooks", "verify", "-", *arguments, stdin=body + b" ")
        assert bad.code == 4


@pytest.mark.long
def test_completions_for_bash_complete(command: Command) -> None:
    """In an interactive bash that has read the script: what is typed before a tab becomes the whole word."""
    program = command.directory / "bin" / "tillstream"
    program.parent.mkdir()
    code = "from tillstream.cli.main import main; main(prog_name='tillstream')"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{code}" "$@"\n')
    program.chmod(0o755)
    for shell in ("zsh", "fish"):
        assert "_TILLSTREAM_COMPLETE" in command.run("completion", shell).out
    path = f"{program.parent}:/usr/bin:/bin"
    environment = {**command.environment, "PATH": path, "PS1": "$ ", "INPUTRC": "/dev/null", "TERM": "dumb"}
    with Terminal(["bash", "--norc", "--noprofile", "-i"], environment, command.directory) as terminal:
        terminal.type("source <(tillstream completion bash); echo read'y'\n")
        terminal.wait_for("ready")
        terminal.type("tillstream impo\t")
        terminal.wait_for("tillstream import ")
        terminal.type("sales.csv --kin\t")
        terminal.wait_for("--kind ")
        terminal.type("ret\t")
        terminal.wait_for("returns ")


def test_progress_is_drawn_on_a_terminal(command: Command) -> None:
    """One line that is drawn again and again; in a log file there are lines of text, and no control characters."""
    path = command.directory / "sales.csv"
    lines = [f"{uuid4().hex},u,2026-05-01T10:00:00Z,{'4556' if n else 'zz'},1,1.50" for n in range(250)]
    path.write_text("\n".join(["id,userId,dateTime,productId,quantity,unitPrice", *lines]))
    arguments = [sys.executable, "-m", "tillstream", "import", str(path), "--kind", "orders"]
    with Terminal(arguments, command.environment, command.directory) as terminal:
        shown = terminal.read_to_end()
    drawn = [part.strip() for part in shown.split("\r") if "sent" in part]
    assert len(drawn) > 3, shown
    assert all(len(part) < Terminal.COLUMNS for part in drawn)
    moving = re.compile(r"[█▒░]{30} \d+%  sent 100 of 250  accepted \d+  failed \d  \d+/s  \d:\d\d left")
    assert any(moving.fullmatch(part) for part in drawn), drawn
    last = drawn[-1].splitlines()[0].strip()
    assert last == "█" * 30 + " 100%  sent 250 of 250  accepted 249  failed 1", drawn
    assert "250 records: 249 accepted, 1 failed" in shown
    again = command.run("import", str(path), "--kind", "orders", "--again")
    assert again.code == 3
    assert not set(again.err) & set("\r\x1b█▒░"), again.err
    assert "100%  sent 250 of 250  accepted 249  failed 1" in again.err.splitlines()


@pytest.mark.long
def test_the_example_is_typed_and_runs(command: Command) -> None:
    text = (REPOSITORY / "docs" / "client.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    path = command.directory / "example.py"
    path.write_text(example)
    for arguments in (["-m", "mypy", "--strict", "--config-file=", str(path)], [str(path)]):
        environment = {**command.environment, "MYPYPATH": str(SOURCES)}
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=command.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_the_walk_of_the_guide_works_word_for_word(command: Command, base: str) -> None:
    """In a new virtual environment with the wheel and nothing else; the address is the only thing that is replaced."""
    uv = Path(sys.executable).parent / "uv"
    wheels = command.directory / "wheels"
    # Built from a copy: setuptools leaves files in the directory that it builds.
    copy = shutil.copytree(SOURCES, command.directory / "copy", ignore=shutil.ignore_patterns("tests", "__pycache__"))
    subprocess.run([uv, "build", "--quiet", "--wheel", "--out-dir", wheels, copy], check=True, cwd=command.directory)
    (wheel,) = wheels.glob("*.whl")
    text = (REPOSITORY / "docs" / "client.md").read_text(encoding="utf-8")
    script, expected = [], []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        is_document = False
        for line in block.splitlines():
            if line.startswith("$ "):
                script.append(line[2:])
                is_document = line.endswith("<<'END'")
            elif is_document:
                script.append(line)
                is_document = line != "END"
            else:
                expected.append(line)
    kept = re.compile(r"HOME|(PIP|SSL|HTTPS?)_.*|NO_PROXY")
    inherited = {name: value for name, value in command.environment.items() if kept.fullmatch(name)}
    done = subprocess.run(
        ["bash", "-eu", "-c", "\n".join(script).replace("http://127.0.0.1:8080", base)],
        cwd=command.directory,
        env={
            **inherited,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "TILLSTREAM_WHEEL": str(wheel),
            "TILLSTREAM_STATE_DIR": str(command.directory / "state"),
            "TILLSTREAM_CONFIG_DIR": str(command.directory / "config"),
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = (done.stdout + done.stderr).splitlines()
    for line in expected:
        assert any(line.split() == one.split() for one in shown), (line, shown)
    installed = sum(
        path.stat().st_size
        for path in (command.directory / "venv" / "lib").rglob("*")
        if path.is_file() and not re.search(r"/(pip|setuptools|pkg_resources|_distutils_hack)\b", str(path))
    )
    assert installed < 10_000_000, installed
    assert list((command.directory / "venv" / "lib").glob("*/site-packages/tillstream/py.typed"))
    assert shutil.which("tillstream", path=str(command.directory / "venv" / "bin"))
