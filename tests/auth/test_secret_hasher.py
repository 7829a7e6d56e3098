import asyncio
import os
import threading

import argon2
import pytest
from argon2.low_level import hash_secret

from services.auth import metrics
from services.auth.adapters import secret_hasher
from services.auth.adapters.secret_hasher import Argon2Hasher
from services.chassis.runtime.errors import ContentionError
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
        return hash_secret(secret, salt, *rest)  # type: ignore[arg-type] # passed on unchanged

    monkeypatch.setattr(secret_hasher, "hash_secret", counting)
    return salts


async def test_hashes_are_argon2id_as_others_write_it() -> None:
    stored = await Argon2Hasher().hash("secret")
    assert stored.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    assert argon2.PasswordHasher().verify(stored, "secret")
    assert await Argon2Hasher().verify("secret", [argon2.PasswordHasher(memory_cost=64, time_cost=1).hash("secret")])


async def test_the_secret_finds_its_hash() -> None:
    hasher = Argon2Hasher()
    first = await hasher.hash("first")
    second = await hasher.hash("second", same_salt_as=first)
    assert await hasher.verify("second", [first, second]) == second
    assert await hasher.verify("first", [first, second]) == first
    assert await hasher.verify("third", [first, second]) is None
    assert await hasher.verify("first", []) is None


async def test_every_check_costs_one_hash_for_known_and_unknown_clients(computed: list[bytes]) -> None:
    hasher = Argon2Hasher()
    first = await hasher.hash("first")
    both = [first, await hasher.hash("second", same_salt_as=first)]
    computed.clear()
    for hashes in (both, both[:1], []):
        await hasher.verify("wrong", hashes)
    assert len(computed) == 3


async def test_a_right_secret_is_cached_for_five_minutes(computed: list[bytes]) -> None:
    clock = Clock(0.0)
    hasher = Argon2Hasher(clock=clock)
    stored = await hasher.hash("secret")
    computed.clear()
    for _ in range(3):
        assert await hasher.verify("secret", [stored]) == stored
    assert len(computed) == 1
    assert await hasher.verify("secre", [stored]) is None
    assert await hasher.verify("secret", []) is None, "a removed secret is not served from the cache"
    clock.at = 301.0
    computed.clear()
    assert await hasher.verify("secret", [stored]) == stored
    assert len(computed) == 1


async def test_a_burst_with_one_secret_costs_little(computed: list[bytes]) -> None:
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    computed.clear()
    assert set(await asyncio.gather(*(hasher.verify("secret", [stored]) for _ in range(50)))) == {stored}
    assert len(computed) == 1
    assert len(hasher._inflight_by_secret) == 0, "finished calls leave nothing behind"


async def test_guesses_delay_no_other_calls() -> None:
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    async with hasher._low_priority_slots:
        guess = asyncio.create_task(hasher.verify("wrong", [stored], low_priority=True))
        assert await hasher.verify("secret", [stored]) == stored
        assert not guess.done()
    assert await guess is None


async def test_a_right_secret_with_low_priority_does_not_delay_the_same_one_elsewhere() -> None:
    """As when an attacker shares the address of one of the client's machines."""
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    async with hasher._low_priority_slots:
        behind = asyncio.create_task(hasher.verify("secret", [stored], low_priority=True))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            assert await hasher.verify("secret", [stored]) == stored
        assert not behind.done()
    assert await behind == stored


async def test_hashing_gives_way_to_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    def priority(*_recipe: object) -> bytes:
        return str(os.getpriority(os.PRIO_PROCESS, threading.get_native_id())).encode()

    monkeypatch.setattr(secret_hasher, "hash_secret", priority)
    hashed = await Argon2Hasher().hash("secret")
    assert int(hashed) == min(int(priority()) + secret_hasher.HASH_THREAD_NICENESS, 19)


async def test_a_flood_does_not_wait_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its queue is full a call is refused, except for cached secrets."""
    monkeypatch.setattr(secret_hasher, "MAX_WAITING", 3)
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    assert await hasher.verify("secret", [stored]) == stored
    async with hasher._low_priority_slots, hasher._slots, hasher._slots:
        for low_priority in (True, False):
            waiting = [
                asyncio.create_task(hasher.verify(f"{low_priority} {n}", [stored], low_priority=low_priority))
                for n in range(3)
            ]
            await asyncio.sleep(0)
            with pytest.raises(ContentionError):
                await hasher.verify("another", [stored], low_priority=low_priority)
            assert await hasher.verify("secret", [stored], low_priority=low_priority) == stored
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await hasher.verify("another", [stored]) is None


async def test_a_flood_of_guesses_keeps_nobody_else_from_being_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hasher, "MAX_WAITING", 3)
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    async with hasher._low_priority_slots:
        guesses = [asyncio.create_task(hasher.verify(f"wrong-{n}", [stored], low_priority=True)) for n in range(3)]
        await asyncio.sleep(0)
        assert await hasher.verify("secret", [stored]) == stored
    assert await asyncio.gather(*guesses) == [None] * 3


async def test_the_cache_is_bounded_and_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_hasher, "MAX_CACHED_SECRETS", 2)
    hasher = Argon2Hasher()
    for secret in ("canary-a", "canary-b", "canary-c"):
        await hasher.verify(secret, [await hasher.hash(secret)])
    assert len(hasher._verified_cache) == 2
    assert "canary" not in str(hasher._verified_cache)


async def test_the_time_of_a_check_is_observed_by_its_outcome() -> None:
    hasher = Argon2Hasher()
    stored = await hasher.hash("secret")
    before = count_checks()
    for secret in ("secret", "secret", "wrong", "wrong"):
        await hasher.verify(secret, [stored])
    # The second right one is cached.
    assert [now - then for now, then in zip(count_checks(), before, strict=True)] == [1, 2]


def count_checks() -> list[float]:
    counted = {
        sample.labels["outcome"]: sample.value
        for family in metrics.SECRET_CHECK_SECONDS.collect()
        for sample in family.samples
        if sample.name.endswith("_count")
    }
    return [counted.get(outcome, 0) for outcome in ("right", "wrong")]
