"""Hashes and verifies client secrets with argon2id, off the event loop."""

import asyncio
import base64
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from time import monotonic
from typing import NamedTuple
from weakref import WeakValueDictionary

import argon2
from argon2.low_level import Type, hash_secret

from services.auth import metrics
from services.auth.ports import Hasher
from services.chassis.runtime.errors import ContentionError

# OWASP's recommendation. Generated secrets have 256 random bits: the cost protects only those that an operator chose.
MEMORY_COST_KIB = 19_456
TIME_COST = 2
PARALLELISM = 1
HASH_BYTES = 32
SALT_BYTES = 16
MAX_CONCURRENT_HASHES = 2
# Hashing threads yield to the event loop, which serves other requests meanwhile.
HASH_THREAD_NICENESS = 5
CACHE_TTL_S = 300.0
MAX_CACHED_SECRETS = 10_000
# Per priority, of secrets that are not cached. Calls with the same secret wait for one computation, each guess for one
# of its own.
MAX_WAITING = 2_000


class _Argon2Params(NamedTuple):
    """Parameters of a hash."""

    salt: bytes
    time_cost: int
    memory_cost_kib: int
    parallelism: int

    def hash(self, secret: str) -> str:
        return hash_secret(secret.encode(), *self, HASH_BYTES, Type.ID).decode()


class Argon2Hasher(Hasher):
    """Hashes in the PHC format, at most `MAX_CONCURRENT_HASHES` at a time.

    The hashes of a client share a salt, so that a secret is verified against all of them at the cost of one. A secret
    that matched is cached for `CACHE_TTL_S`, as a digest keyed with random bytes of this process.
    """

    def __init__(
        self, *, clock: Callable[[], float] = monotonic, random_bytes: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._pepper = random_bytes(32)
        self._dummy_params = _new_params(random_bytes(SALT_BYTES))
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_HASHES)
        self._low_priority_slots = asyncio.Semaphore(1)
        self._verified_cache: dict[str, tuple[bytes, float]] = {}
        # By priority: guesses can fill only the queue of low priority.
        self._waiting = {True: 0, False: 0}
        self._threads = ThreadPoolExecutor(
            MAX_CONCURRENT_HASHES + 1, thread_name_prefix="hash", initializer=_lower_thread_priority
        )
        self._inflight_by_secret: WeakValueDictionary[tuple[bytes, bool], asyncio.Lock] = WeakValueDictionary()

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        params = _parse_params(same_salt_as) if same_salt_as else _new_params(self._random_bytes(SALT_BYTES))
        async with self._slots:
            return await asyncio.get_running_loop().run_in_executor(self._threads, params.hash, secret)

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        cached = self._cached_match(secret, hashes)
        if cached is not None:
            return cached
        if self._waiting[low_priority] >= MAX_WAITING:
            raise ContentionError("secret verification")
        started_at = self._clock()
        self._waiting[low_priority] += 1
        try:
            match = await self._verify_uncached(secret, hashes, low_priority=low_priority)
        finally:
            self._waiting[low_priority] -= 1
        metrics.SECRET_CHECK_SECONDS.labels("right" if match else "wrong").observe(self._clock() - started_at)
        return match

    async def _verify_uncached(self, secret: str, hashes: Sequence[str], *, low_priority: bool) -> str | None:
        # Of concurrent calls with the same secret one computes; the others find the result in the cache.
        lock = self._inflight_by_secret.setdefault((self._digest(secret), low_priority), asyncio.Lock())
        async with lock, self._low_priority_slots if low_priority else self._slots:
            match = self._cached_match(secret, hashes)
            if match is None:
                loop = asyncio.get_running_loop()
                match = await loop.run_in_executor(self._threads, self._compute, secret, hashes)
            if match is not None:
                self._cache_match(secret, match)
        return match

    def _compute(self, secret: str, hashes: Sequence[str]) -> str | None:
        # Without hashes a dummy is computed, so that the time does not reveal which clients exist.
        params = {_parse_params(stored) for stored in hashes} or {self._dummy_params}
        computed = [each.hash(secret) for each in params]
        metrics.SECRET_HASHES.inc(len(computed))
        return next((stored for stored in hashes for each in computed if hmac.compare_digest(stored, each)), None)

    def _cached_match(self, secret: str, hashes: Sequence[str]) -> str | None:
        digest = self._digest(secret)
        now = self._clock()
        for stored in hashes:
            cached, expires_at = self._verified_cache.get(stored, (b"", 0.0))
            if now < expires_at and hmac.compare_digest(cached, digest):
                return stored
        return None

    def _cache_match(self, secret: str, stored: str) -> None:
        while len(self._verified_cache) >= MAX_CACHED_SECRETS:
            del self._verified_cache[next(iter(self._verified_cache))]
        self._verified_cache[stored] = (self._digest(secret), self._clock() + CACHE_TTL_S)

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(), sha256)


def _lower_thread_priority() -> None:
    """Raise the niceness of this thread only; has no effect where threads have no priority of their own."""
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + HASH_THREAD_NICENESS)


def _new_params(salt: bytes) -> _Argon2Params:
    return _Argon2Params(salt, TIME_COST, MEMORY_COST_KIB, PARALLELISM)


def _parse_params(encoded: str) -> _Argon2Params:
    cost = argon2.extract_parameters(encoded)
    salt = base64.b64decode(encoded.split("$")[4] + "==")
    return _Argon2Params(salt, cost.time_cost, cost.memory_cost, cost.parallelism)
