"""What auth costs while it is busy: with secrets hashed and keys made as in production."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from statistics import median
from time import process_time, thread_time
from typing import Any

import pytest

from services.auth import metrics
from services.auth.adapters.key_wrapper import KeyWrapper
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.auth.domain.audience import OMNICHANNEL
from services.auth.domain.client import Secret
from services.auth.domain.credentials import FORM, TokenEndpointRequest
from services.auth.flows.tokens import TokenDeps, issue
from tests.auth.harness import ENCRYPTION_KEY, AuthHarness, a_client

SECRET = "canary-secret-that-is-hashed-with-argon2"
LONGEST_TURN_S = 0.020


@pytest.fixture
async def world(auth: AuthHarness) -> TokenDeps:
    """Auth's, with the hasher of production and one client."""
    hasher = Argon2Hasher()
    secret = Secret(secret_id="s", hash=await hasher.hash(SECRET), created_at=0)
    await auth.clients.save(a_client(client_id="busy", secrets=(secret,)))
    return replace(auth.deps, hasher=hasher)


async def ask(
    world: TokenDeps, *, client_id: str = "busy", secret: str = SECRET, caller: str = "203.0.113.9"
) -> object:
    body = f"grant_type=client_credentials&client_id={client_id}&client_secret={secret}"
    presented = TokenEndpointRequest(query="", body=body.encode(), content_type=FORM)
    return await issue(presented, OMNICHANNEL, source=caller, deps=world)


def hashes() -> float:
    return float(metrics.HASHES._value.get())


async def test_a_thousand_requests_of_one_client_cost_one_hash(world: TokenDeps) -> None:
    before = hashes()
    await asyncio.gather(*(ask(world) for _ in range(500)))
    for _ in range(500):
        await ask(world)
    assert hashes() - before == 1


async def test_wrong_secrets_of_known_and_unknown_clients_take_the_same_time(world: TokenDeps) -> None:
    """Interleaved, each from an address of its own, so that no limit is in play. In seconds of CPU, all threads'."""
    took_s: dict[str, list[float]] = {"busy": [], "nobody": []}
    for number in range(10):
        for client_id, times in took_s.items():
            began = process_time()
            await ask(world, client_id=client_id, secret=f"wrong-{number}", caller=f"198.51.100.{number}")
            times.append(process_time() - began)
    known, unknown = (median(times) for times in took_s.values())
    assert min(took_s["busy"]) > 0.005, "the work is done"
    assert known == pytest.approx(unknown, rel=0.2)


async def longest_turn_s(work: Callable[[], Coroutine[Any, Any, object]]) -> float:
    """The longest time that the event loop computed without a pause. Neighbours on the machine do not count."""
    turns: list[float] = []
    turned = asyncio.Event()

    async def watch() -> None:
        while True:
            began = thread_time()
            await asyncio.sleep(0.001)
            turns.append(thread_time() - began)
            turned.set()

    watching = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await work()
    turned.clear()
    await turned.wait()
    watching.cancel()
    return max(turns)


async def test_nothing_holds_up_the_event_loop(world: TokenDeps, auth: AuthHarness) -> None:
    """Guesses at secrets, a burst of good requests, a new signing key: made, sealed, opened and used."""
    guesses = iter(range(10_000))

    async def guess() -> None:
        await asyncio.gather(*(ask(world, secret=f"wrong-{next(guesses)}", caller=str(each)) for each in range(8)))

    async def rotate() -> None:
        vault = KeyWrapper(ENCRYPTION_KEY, "RS256")
        key = await vault.generate(number=2, created_at=0, signs_from=0)
        auth.signer.set_keys([*await auth.key_rotation.keys.all(), key])

    async def burst() -> None:
        await asyncio.gather(*(ask(world) for _ in range(5)))

    for work in (guess, rotate, burst):
        # A collection of garbage may fall into a turn, but not into each.
        turns = [await longest_turn_s(work) for _ in range(3)]
        assert min(turns) < LONGEST_TURN_S, work.__name__
