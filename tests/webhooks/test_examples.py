"""The receivers in the documentation accept what is signed, once, and nothing else."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from time import time

import pytest

from services.chassis.runtime.settings import REPOSITORY
from services.webhooks.adapters.http_transport import HttpTransport
from services.webhooks.adapters.secret_sealer import describe_public_key, load_signing_keys
from services.webhooks.domain.event import place_event
from services.webhooks.domain.signature import build_headers, format_secret
from tests.webhooks.api_fixtures import FeedClient, api
from tests.webhooks.events import NOON_US, an_event

__all__ = ["api"]

EXAMPLES = REPOSITORY / "docs" / "examples"
SECRET, KEYS = b"x" * 32, load_signing_keys([b"s" * 32])
BODY = place_event(an_event(1), 7, NOON_US).json.encode()
NODE = shutil.which("node")
RECEIVERS = {
    "python": [sys.executable, str(EXAMPLES / "receive_webhook.py")],
    "node": [NODE or "node", str(EXAMPLES / "receive_webhook.mjs")],
}


@asynccontextmanager
async def receiving(command: list[str], directory: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    environment = {
        **os.environ,
        "PORT": "0",
        "DATABASE": str(directory / "events.db"),
        "WEBHOOK_SECRET": format_secret(SECRET),
        "WEBHOOK_KEY": describe_public_key(KEYS[0])["webhookKey"],
    }
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        yield process, int(line.split()[1])
    finally:
        process.kill()
        await process.wait()


async def post(port: int, headers: Mapping[str, str], body: bytes) -> int | None:
    transport = HttpTransport(now_us=lambda: 0, allow_loopback=True)
    await transport.start()
    try:
        return (await transport.post(f"http://127.0.0.1:{port}/", headers, body)).status
    finally:
        await transport.stop()


@pytest.mark.parametrize("name", RECEIVERS)
async def test_a_receiver_accepts_what_is_signed_and_nothing_else(name: str, tmp_path: Path) -> None:
    if name == "node" and NODE is None:
        pytest.skip("node is not installed")
    event_id, now_s = an_event(1).id, int(time())
    signed = build_headers(event_id, BODY, at_s=now_s, secrets=[b"old" * 8, SECRET], keys=KEYS)
    stale = build_headers(event_id, BODY, at_s=now_s - 3_600, secrets=[SECRET], keys=KEYS)
    foreign = build_headers(event_id, BODY, at_s=now_s, secrets=[b"y" * 32], keys=KEYS)
    async with receiving(RECEIVERS[name], tmp_path) as (process, port):
        assert await post(port, signed, BODY) == 204
        assert await post(port, signed, BODY) == 204
        assert await post(port, signed, BODY + b" ") == 401
        assert await post(port, stale, BODY) == 401
        assert await post(port, foreign, BODY) == 401
        assert await post(port, {}, BODY) == 401
        assert process.stdout is not None
        async with asyncio.timeout(20):
            assert (await process.stdout.readline()).decode().split() == ["7", "job.finished", event_id]


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_shell_follows_a_feed_with_curl(api: FeedClient, tmp_path: Path) -> None:
    """Page by page, started again each time."""
    await api.append(*(an_event(number) for number in range(150)))
    environment = {**os.environ, "BASE": str(api.client.make_url("")).rstrip("/"), "API_KEY": "12345", "TOKEN": "good"}
    seen: list[str] = []
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *("sh", str(EXAMPLES / "follow_feed.sh"), "1"),
            cwd=tmp_path,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
        assert process.returncode == 0
        seen += [line.split()[0] for line in output.decode().splitlines()]
    assert seen == [str(sequence) for sequence in range(1, 151)]
