"""Two hundred clients that are slow or send too much at the gateway; other clients are unaffected."""

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from tests.e2e.background_load import BackgroundLoad
from tests.e2e.customer import BASES, Customer
from tests.e2e.installation import Installation

pytestmark = pytest.mark.long

MIB = 2**20
BOMB = gzip.compress(bytes(99 * MIB), 9)
MAX_BODY_BYTES = 102_400
CHUNK = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
# As documented: a body that is not complete after ten seconds is answered within two more seconds.
BODY_S, ANSWERED_S = 10.0, 12.0
MAX_MEMORY_BYTES = 300_000_000
OTHERS_RATE = 20
# On an idle machine it is a tenth of this; here crowd, broker and services share two cores.
OTHERS_MAX_LATENCY_S = 1.0
# Where other programs take these cores, requests take long without a crowd, too: how many times as long with one.
OTHERS_MAX_SLOWDOWN = 3.0
ALONE_S = 4.0
# Crowds, of which the one counts that the machine disturbed least.
ROUNDS = 3


class HostileResult(NamedTuple):
    """The status that a hostile client got, and after how long; None if its connection was closed."""

    status: int | None
    after_s: float


async def trickle() -> AsyncIterator[bytes]:
    """Send a byte twice per second without end."""
    while True:
        yield b" "
        await asyncio.sleep(0.5)


async def nothing() -> AsyncIterator[bytes]:
    """Send nothing."""
    await asyncio.Event().wait()
    yield b""


async def too_much() -> AsyncIterator[bytes]:
    """Send twice the allowed size."""
    yield CHUNK * (2 * MAX_BODY_BYTES // 0x4000)


async def endless() -> AsyncIterator[bytes]:
    """Send chunk after chunk without end."""
    while True:
        yield CHUNK
        await asyncio.sleep(0.01)


async def bomb() -> AsyncIterator[bytes]:
    """Send 100 KB that inflate to 99 MiB."""
    yield BOMB


Body = Callable[[], AsyncIterator[bytes]]
# Number of clients, framing header, body, and allowed statuses. A client that goes on sending may have its connection
# closed before it reads the response.
CROWD: list[tuple[int, str, Body, set[int | None]]] = [
    (70, "Content-Length: 1000", trickle, {408}),
    (50, "Content-Length: 1000", nothing, {408}),
    (20, "Transfer-Encoding: chunked", too_much, {413}),
    (20, "Transfer-Encoding: chunked", endless, {413, None}),
    (40, f"Content-Length: {len(BOMB)}", bomb, {413}),
]


async def send_hostile_request(customer: Customer, token: str, framing: str, body: Body) -> HostileResult:
    """Send a hostile request until it is answered."""
    address = urlsplit(customer.base)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    path = f"{BASES['import']}/{customer.tenant.api_key}/orders"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {token}\r\n{framing}\r\n\r\n".encode())
    began = monotonic()
    sending = asyncio.create_task(send(writer, body()))
    try:
        async with asyncio.timeout(3 * BODY_S):
            line = await reader.readline()
        return HostileResult(int(line.split(b" ")[1]), monotonic() - began)
    except ConnectionError:
        return HostileResult(None, monotonic() - began)
    finally:
        sending.cancel()
        writer.close()


async def send(writer: asyncio.StreamWriter, body: AsyncIterator[bytes]) -> None:
    with suppress(ConnectionError):
        async for piece in body:
            writer.write(piece)
            await writer.drain()


async def wait_for_full_quota(customer: Customer, token: str) -> None:
    """Wait until the site's quota is full: a 429 would end a hostile request early."""
    path = f"{BASES['import']}/{customer.tenant.api_key}/limits"
    async with asyncio.timeout(10):
        while True:
            limits = (await customer.call("GET", path, headers={"Authorization": f"Bearer {token}"})).json
            if limits["remaining"] == limits["recordsPerSecond"]:
                return


def peak_memory(installation: Installation, name: str) -> int:
    """Return the peak resident memory of a component in bytes."""
    status = Path(f"/proc/{installation.status()[name]['pid']}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


class Crowd(NamedTuple):
    """What one crowd got, how long others' requests took meanwhile, and how long they took just before."""

    visits: list[list[HostileResult]]
    load: BackgroundLoad
    alone_s: float

    @property
    def slow(self) -> list[float]:
        """After how long each client that did not send was answered."""
        return [result.after_s for results in self.visits[:2] for result in results]

    @property
    def is_bearable(self) -> bool:
        """Whether slow clients were answered in time, and others as fast as ever."""
        bound_s = max(OTHERS_MAX_LATENCY_S, OTHERS_MAX_SLOWDOWN * self.alone_s)
        is_in_time = max(self.slow) <= ANSWERED_S + self.alone_s + self.load.stalled_s
        return is_in_time and self.load.slowest_s <= bound_s + self.load.stalled_s


async def visit(customer: Customer, other_customer: Customer) -> Crowd:
    """Let others import alone for a while, and then beside a crowd."""
    token, others_token = await customer.token("import"), await other_customer.token("import")
    await wait_for_full_quota(customer, token)
    alone, load = (BackgroundLoad(other_customer, rate=OTHERS_RATE) for _ in range(2))
    for each in (alone, load):
        each.tokens.append(others_token)
    async with alone:
        await asyncio.sleep(ALONE_S)  # the time in which they are measured
    async with load, asyncio.TaskGroup() as crowd:
        visits = [
            [crowd.create_task(send_hostile_request(customer, token, framing, body)) for _ in range(count)]
            for count, framing, body, _ in CROWD
        ]
    return Crowd([[task.result() for task in made] for made in visits], load, alone.slowest_s)


async def test_others_are_served_as_ever_while_two_hundred_are_slow_or_send_too_much(
    customer: Customer,
    other_customer: Customer,
    installation: Installation,
    record_property: Callable[[str, object], None],
) -> None:
    """Breaks: 120 clients do not send what they announced, 40 send too much or without end, 40 send bombs, all at once.

    Must hold: each of them is answered or disconnected, the slow ones within 12 seconds; all imports of another site
    are accepted, each within a second; ingest never uses more than 300 MB. Known by all the responses and by the
    kernel's accounting. Where other programs use the machine, a second is too little: then the times are compared with
    those just before the crowd, and up to three crowds come, of which one must be bearable.
    """
    assert len(BOMB) <= MAX_BODY_BYTES
    for _ in range(ROUNDS):
        crowd = await visit(customer, other_customer)
        for (_, _, body, statuses), results in zip(CROWD, crowd.visits, strict=True):
            answers = Counter(result.status for result in results)
            assert set(answers) <= statuses, (body.__name__, answers)
        assert min(crowd.slow) >= BODY_S - 0.1
        assert set(crowd.load.answers) == {"202"}, crowd.load.failures
        assert crowd.load.answers["202"] > BODY_S * OTHERS_RATE / 2
        held = peak_memory(installation, "ingest")
        assert held <= MAX_MEMORY_BYTES
        record_property("slowest_answer_s", max(crowd.slow))
        record_property("others_slowest_s", (crowd.load.slowest_s, crowd.alone_s, crowd.load.stalled_s))
        record_property("ingest_most_memory_mib", held // MIB)
        if crowd.is_bearable:
            return
    pytest.fail(
        f"in {ROUNDS} crowds, the last: others waited {crowd.load.slowest_s:.2f} s, {crowd.alone_s:.2f} s alone; "
        f"slow clients {max(crowd.slow):.1f} s"
    )
