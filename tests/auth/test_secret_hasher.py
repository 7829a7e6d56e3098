import asyncio
import base64
import os
import threading

import argon2
import pytest
from argon2.low_level import hash_secret_raw

from services.auth import metrics
from services.auth.adapters import secret_hasher
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.chassis.runtime.errors import UnavailableError
from tests.auth.fakes import Clock


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hasher, "MEMORY_COST_KIB", 64)
    monkeypatch.setattr(secret_hasher, "TIME_COST", 1)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The salts of all hashes that were computed."""
    salts: list[bytes] = []

    def counting(secret: bytes, salt: bytes, *rest: object) -> bytes:
        salts.append(salt)
        return hash_secret_raw(secret, salt, *rest)  # type: ignore[arg-type] # passed on as it came

    monkeypatch.setattr(secret_hasher, "hash_secret_raw", counting)
    return salts


async def test_hashes_are_argon2id_as_others_write_it() -> None:
    kept = await Argon2Hasher().hash("secret")
    assert kept.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert argon2.PasswordHasher().verify(kept, "secret")
    assert await Argon2Hasher().verify("secret", [argon2.PasswordHasher(memory_cost=64, time_cost=1).hash("secret")])


async def test_the_secret_finds_its_hash() -> None:
    made = Argon2Hasher()
    first = await made.hash("first")
    second = await made.hash("second", same_salt_as=first)
    assert await made.verify("second", [first, second]) == second
    assert await made.verify("first", [first, second]) == first
    assert await made.verify("third", [first, second]) is None
    assert await made.verify("first", []) is None


async def test_every_check_costs_one_hash_whoever_asks(computed: list[bytes]) -> None:
    made = Argon2Hasher()
    first = await made.hash("first")
    both = [first, await made.hash("second", same_salt_as=first)]
    computed.clear()
    for hashes in (both, both[:1], []):
        await made.verify("wrong", hashes)
    assert len(computed) == 3


async def test_a_right_secret_is_remembered_for_five_minutes(computed: list[bytes]) -> None:
    clock = Clock(0.0)
    made = Argon2Hasher(clock=clock)
    kept = await made.hash("secret")
    computed.clear()
    for _ in range(3):
        assert await made.verify("secret", [kept]) == kept
    assert len(computed) == 1
    assert await made.verify("secre", [kept]) is None
    assert await made.verify("secret", []) is None, "a removed secret is forgotten at once"
    clock.at = 301.0
    computed.clear()
    assert await made.verify("secret", [kept]) == kept
    assert len(computed) == 1


async def test_a_burst_with_one_secret_costs_little(computed: list[bytes]) -> None:
    made = Argon2Hasher()
    kept = await made.hash("secret")
    computed.clear()
    assert set(await asyncio.gather(*(made.verify("secret", [kept]) for _ in range(50)))) == {kept}
    assert len(computed) == 1
    assert len(made._inflight_by_secret) == 0, "who waited leaves nothing behind"


async def test_who_guesses_holds_up_nobody_else() -> None:
    made = Argon2Hasher()
    kept = await made.hash("secret")
    async with made._low_priority_slots:
        guess = asyncio.create_task(made.verify("wrong", [kept], low_priority=True))
        assert await made.verify("secret", [kept]) == kept
        assert not guess.done()
    assert await guess is None


async def test_a_right_secret_in_the_line_of_who_guesses_does_not_hold_up_the_same_one_elsewhere() -> None:
    """As when somebody guesses behind the same address as one of the client's machines."""
    made = Argon2Hasher()
    kept = await made.hash("secret")
    async with made._low_priority_slots:
        behind = asyncio.create_task(made.verify("secret", [kept], low_priority=True))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await made.verify("secret", [kept]) == kept
        assert not behind.done()
    assert await behind == kept


async def test_hashing_gives_way_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def priority(*_recipe: object) -> bytes:
        return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).encode()

    monkeypatch.setattr(secret_hasher, "hash_secret_raw", priority)
    hashed = await Argon2Hasher().hash("secret")
    told = base64.b64decode(hashed.rpartition("$")[2] + "==")
    assert int(told) == min(int(priority()) + secret_hasher.HASH_THREAD_NICENESS, 19)


async def test_a_flood_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes when too many wait in the same line is told to come again; who is remembered passes."""
    monkeypatch.setattr(secret_hasher, "MAX_WAITING", 3)
    made = Argon2Hasher()
    kept = await made.hash("secret")
    assert await made.verify("secret", [kept]) == kept
    async with made._low_priority_slots, made._slots, made._slots:
        for patient in (True, False):
            waiting = [
                asyncio.create_task(made.verify(f"{patient} {n}", [kept], low_priority=patient)) for n in range(3)
            ]
            await asyncio.sleep(0)
            with pytest.raises(UnavailableError):
                await made.verify("another", [kept], low_priority=patient)
            assert await made.verify("secret", [kept], low_priority=patient) == kept
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await made.verify("another", [kept]) is None


async def test_a_flood_of_guesses_keeps_nobody_else_from_being_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hasher, "MAX_WAITING", 3)
    made = Argon2Hasher()
    kept = await made.hash("secret")
    async with made._low_priority_slots:
        guesses = [asyncio.create_task(made.verify(f"wrong-{n}", [kept], low_priority=True)) for n in range(3)]
        await asyncio.sleep(0)
        assert await made.verify("secret", [kept]) == kept
    assert await asyncio.gather(*guesses) == [None] * 3


async def test_what_is_remembered_is_bounded_and_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hasher, "MAX_CACHED_SECRETS", 2)
    made = Argon2Hasher()
    for secret in ("canary-a", "canary-b", "canary-c"):
        await made.verify(secret, [await made.hash(secret)])
    assert len(made._verified_cache) == 2
    assert "canary" not in str(made._verified_cache)


async def test_the_time_of_a_check_is_told_by_its_outcome() -> None:
    made = Argon2Hasher()
    kept = await made.hash("secret")
    before = checks()
    for secret in ("secret", "secret", "wrong", "wrong"):
        await made.verify(secret, [kept])
    # The second time the right one is remembered.
    assert [now - then for now, then in zip(checks(), before, strict=True)] == [1, 2]


def checks() -> list[float]:
    counted = {
        sample.labels["outcome"]: sample.value
        for family in metrics.HASH_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    }
    return [counted.get(outcome, 0) for outcome in ("right", "wrong")]
