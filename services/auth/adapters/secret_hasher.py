"""Secrets as argon2id hashes, computed off the event loop."""

import asyncio
import base64
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from time import monotonic
from weakref import WeakValueDictionary

import argon2
from argon2.low_level import Type, hash_secret_raw

from services.auth import metrics
from services.chassis.runtime.errors import UnavailableError

# OWASP's recommendation. Secrets are 256 random bits, so the cost guards only against what an operator makes up.
MEMORY_COST_KIB = 19_456
TIME_COST = 2
PARALLELISM = 1
HASH_BYTES = 32
SALT_BYTES = 16
MAX_CONCURRENT_HASHES = 2
# How far hashing steps back behind the event loop, which has other requests to answer meanwhile.
HASH_THREAD_NICENESS = 5
CACHE_TTL_S = 300.0
MAX_CACHED_SECRETS = 10_000
# Of those whose secret is not remembered. All of one busy client's wait for one computation; each guess is one more.
MAX_WAITING = 2_000


@dataclass(frozen=True, slots=True)
class _Argon2Params:
    """What goes into a hash beside the secret."""

    memory_cost_kib: int
    time_cost: int
    parallelism: int
    salt: bytes

    def hash(self, secret: str) -> str:
        raw = hash_secret_raw(
            secret.encode(), self.salt, self.time_cost, self.memory_cost_kib, self.parallelism, HASH_BYTES, Type.ID
        )
        cost = f"m={self.memory_cost_kib},t={self.time_cost},p={self.parallelism}"
        return f"$argon2id$v=19${cost}${_b64(self.salt)}${_b64(raw)}"


class Argon2Hasher:
    """Hashes in the PHC format, of which few are computed at a time.

    One secret is checked against all hashes of a client at the price of one, because they share a salt. A secret that
    was right is remembered for five minutes: as a digest keyed with what only this process knows.
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
        # By the line they wait in: who guesses fills the patient one at most.
        self._waiting = {True: 0, False: 0}
        self._threads = ThreadPoolExecutor(
            MAX_CONCURRENT_HASHES + 1, thread_name_prefix="hash", initializer=_lower_thread_priority
        )
        self._inflight_by_secret: WeakValueDictionary[tuple[bytes, bool], asyncio.Lock] = WeakValueDictionary()

    async def hash(self, secret: str, *, same_salt_as: str | None = None) -> str:
        """The hash to be kept, with the salt of `like` if that is given."""
        recipe = _parse_params(same_salt_as) if same_salt_as else _new_params(self._random_bytes(SALT_BYTES))
        async with self._slots:
            return await asyncio.get_running_loop().run_in_executor(self._threads, recipe.hash, secret)

    async def verify(self, secret: str, hashes: Sequence[str], *, low_priority: bool = False) -> str | None:
        """The hash that the secret belongs to, if any. Raises `Away` while too many wait in the same line."""
        known = self._cached_match(secret, hashes)
        if known is not None:
            return known
        if self._waiting[low_priority] >= MAX_WAITING:
            raise UnavailableError("the check of secrets")
        began = self._clock()
        self._waiting[low_priority] += 1
        try:
            found = await self._verify_uncached(secret, hashes, low_priority=low_priority)
        finally:
            self._waiting[low_priority] -= 1
        metrics.HASH_SECONDS.labels("right" if found else "wrong").observe(self._clock() - began)
        return found

    async def _verify_uncached(self, secret: str, hashes: Sequence[str], *, low_priority: bool) -> str | None:
        # Of those who bring the same secret at once one computes; the others find what it remembered.
        line = self._inflight_by_secret.setdefault((self._digest(secret), low_priority), asyncio.Lock())
        async with line, self._low_priority_slots if low_priority else self._slots:
            found = self._cached_match(secret, hashes)
            if found is None:
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, self._compute, secret, hashes)
            if found is not None:
                self._cache_match(secret, found)
        return found

    def _compute(self, secret: str, hashes: Sequence[str]) -> str | None:
        # Without hashes the work is done all the same, so that time does not tell who exists.
        recipes = {_parse_params(kept) for kept in hashes} or {self._dummy_params}
        made = [recipe.hash(secret) for recipe in recipes]
        metrics.HASHES.inc(len(made))
        return next((kept for kept in hashes for one in made if hmac.compare_digest(kept, one)), None)

    def _cached_match(self, secret: str, hashes: Sequence[str]) -> str | None:
        digest = self._digest(secret)
        now = self._clock()
        for kept in hashes:
            right, until = self._verified_cache.get(kept, (b"", 0.0))
            if now < until and hmac.compare_digest(right, digest):
                return kept
        return None

    def _cache_match(self, secret: str, kept: str) -> None:
        while len(self._verified_cache) >= MAX_CACHED_SECRETS:
            del self._verified_cache[next(iter(self._verified_cache))]
        self._verified_cache[kept] = (self._digest(secret), self._clock() + CACHE_TTL_S)

    def _digest(self, secret: str) -> bytes:
        return hmac.digest(self._pepper, secret.encode(), sha256)


def _lower_thread_priority() -> None:
    """Let this thread alone give way. Where threads have no priority of their own it stays as it is."""
    thread = threading.get_native_id()
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + HASH_THREAD_NICENESS)


def _new_params(salt: bytes) -> _Argon2Params:
    return _Argon2Params(MEMORY_COST_KIB, TIME_COST, PARALLELISM, salt)


def _parse_params(hashed: str) -> _Argon2Params:
    cost = argon2.extract_parameters(hashed)
    salt = hashed.split("$")[4]
    return _Argon2Params(
        cost.memory_cost, cost.time_cost, cost.parallelism, base64.b64decode(salt + "=" * (-len(salt) % 4))
    )


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()
